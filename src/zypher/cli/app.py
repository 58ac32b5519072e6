"""The commands, and how they end."""

import sys
from collections.abc import Callable
from importlib import import_module, metadata
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from zypher.cli.endings import MEANINGS, ending_of, last_words
from zypher.cli.text import complain
from zypher.errors import ZypherError


class _Command(NamedTuple):
    """What is known of a command before its module is imported.

    `health` has none: it is run by `__main__`, without all of this.
    """

    group: str
    module: str | None
    sentence: str


_SERVE, _PREDICT, _OPERATE = "Serve", "Predict", "Operate"

COMMANDS = {
    "init": _Command(_SERVE, "init", "Write a model to start from, its test and a Dockerfile."),
    "serve": _Command(_SERVE, "serving", "Serve models over HTTP."),
    "worker": _Command(
        _SERVE, "serving", "Run models for servers elsewhere, which share the broker."
    ),
    "check": _Command(
        _SERVE,
        "serving",
        "Say whether `serve` would start with these settings and models, without serving.",
    ),
    "key": _Command(_SERVE, "key", "Make an API key, and what the server keeps of it."),
    "predict": _Command(_PREDICT, "predict", "Run a model of a server and print the result."),
    "show": _Command(_PREDICT, "show", "Show one prediction, or follow it to its end."),
    "ls": _Command(_OPERATE, "ls", "List predictions, the newest first."),
    "cancel": _Command(_OPERATE, "operate", "Cancel predictions that wait or run."),
    "retry": _Command(_OPERATE, "operate", "Run predictions that have ended once more."),
    "purge": _Command(_OPERATE, "purge", "Delete predictions that have ended."),
    "health": _Command(_OPERATE, None, "Say whether a server is ready."),
    "backup": _Command(
        _OPERATE, "backup", "Copy the queue to a new file, also while a server uses it."
    ),
}


class _Commands(TyperGroup):
    """The commands by outline, which is all that `--help` shows; the real one where it is run."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, command in COMMANDS.items():
            self.add_command(
                TyperCommand(name, help=command.sentence, rich_help_panel=command.group)
            )

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, outline, rest = super().resolve_command(ctx, args)
        module = COMMANDS[str(name)].module
        return name, load(module, str(name)) if module else outline, rest


def load(module: str, name: str) -> Any:
    """The command itself."""
    function: Callable[..., None] = getattr(import_module(f"zypher.cli.{module}"), name)
    alone = typer.Typer(add_completion=False)
    alone.command(name)(function)
    return get_command(alone)


app = typer.Typer(
    cls=_Commands,
    name="zypher",
    help="Turns any Python model into a prediction server, and talks to it.",
    epilog=f"Exit codes: {'; '.join(f'{code} {meaning}' for code, meaning in MEANINGS.items())}.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Run the command line. An ordinary mistake ends in one sentence and an exit code."""
    try:
        app()
    except ZypherError as error:
        complain(last_words(error))
        sys.exit(ending_of(error))


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(metadata.version("zypher"))
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Say which.")
    ] = False,
) -> None:
    """Turns any Python model into a prediction server, and talks to it."""
