"""Which files hold the author's own code: those that a model was imported from, or could not be."""

import importlib.util
import os
import sys
import sysconfig
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from traceback import walk_tb

_NOT_USERS = tuple(
    {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    | {str(Path(__file__).parents[1])}
)

# Python takes compiled code for that of a file of the same size and second, in seconds.
_SAME = 2.0


def files_of_code(target: str, error: BaseException | None = None) -> list[str]:
    """The files of all modules of the author's that are imported; and of those which `error` kept
    from being imported, also where they do not exist."""
    modules = [getattr(module, "__file__", None) for module in [*sys.modules.values()]]
    found = [*modules, *_files_of_target(target), *_files_behind(error)]
    return sorted({file for file in found if file and _is_users(file)})


def forget_young_bytecode(files: Iterable[str]) -> None:
    """Have Python compile these anew next time if they were saved just now.

    Saved once more within a second, with as many bytes, they would be taken for unchanged.
    """
    for file in files:
        with suppress(OSError, ValueError, NotImplementedError):
            if time.time() - Path(file).stat().st_mtime < _SAME:
                Path(importlib.util.cache_from_source(file)).unlink()


def _is_users(file: str) -> bool:
    is_installed = file.startswith(_NOT_USERS) or "site-packages" in file
    return os.path.isabs(file) and not is_installed  # noqa: PTH117 - `<string>` is no path


def _files_of_target(target: str) -> Iterator[str]:
    place = target.rpartition(":")[0]
    if place.endswith(".py"):
        yield str(Path(place).resolve())
    elif place:
        yield from _candidates(place)


def _files_behind(error: BaseException | None) -> Iterator[str]:
    """The files that an error came through on its way, and the one that it is about."""
    while error is not None:
        yield from (frame.f_code.co_filename for frame, _ in walk_tb(error.__traceback__))
        if isinstance(error, SyntaxError) and error.filename:
            yield error.filename
        if isinstance(error, ModuleNotFoundError) and error.name:
            yield from _candidates(error.name)
        error = error.__cause__ or error.__context__


def _candidates(module: str) -> Iterator[str]:
    """Where a module would be looked for first."""
    place = Path(sys.path[0] if sys.path else "", *module.split(".")).absolute()
    yield from (f"{place}.py", str(place / "__init__.py"))
