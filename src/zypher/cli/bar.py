"""The panel for terminals: a bar that moves."""

import sys
from contextlib import suppress

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Column
from rich.text import Text

from zypher.cli.panels import Panel
from zypher.cli.text import complain, one_line, shown


class Bar(Panel):
    """Shows the status, the progress and its text in the last line, and logs above it."""

    def __init__(self) -> None:
        console = Console(stderr=True, highlight=False)
        self._progress = Progress(
            SpinnerColumn("line"),
            BarColumn(min(20, console.width // 5)),
            TaskProgressColumn(),
            TextColumn(
                "{task.description}",
                markup=False,
                table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"),
            ),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            expand=True,
        )
        self._task = self._progress.add_task("", total=None)
        self._is_shown = True

    def __enter__(self) -> "Bar":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._hide()

    def status(self, status: str) -> None:
        self._progress.update(self._task, description=one_line(status))

    def progress(self, fraction: float, text: str) -> None:
        self._progress.update(self._task, total=1.0, completed=fraction, description=one_line(text))

    def log(self, text: str) -> None:
        if self._is_shown:
            self._progress.console.print(Text(shown(text)), soft_wrap=True)
        else:
            complain(text)

    def give_way(self) -> None:
        if sys.stdout is not None and sys.stdout.isatty():
            self._hide()

    def _hide(self) -> None:
        self._is_shown = False
        with suppress(OSError):  # the terminal was closed
            self._progress.stop()
