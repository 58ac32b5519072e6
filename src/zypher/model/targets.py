"""Finding what a target names: importing the user's module and taking a name from it."""

import difflib
import importlib
import importlib.util
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from zypher.errors import ModelLoadError
from zypher.model.tracebacks import user_traceback

_T = TypeVar("_T")


def find(target: str) -> Any:
    """The object that `path/to/file.py:Name` or `package.module:name` stands for.

    Raises ModelLoadError when there is none, or its module raises.
    """
    place, colon, name = target.rpartition(":")
    if not (colon and place and name):
        raise ModelLoadError(
            f"{target!r} does not name a model. Write `file.py:Name` or `package.module:name`."
        )
    is_file = place.endswith(".py") or "/" in place or "\\" in place
    module = _from_file(place, target) if is_file else _from_path(place, target)
    return _take(module, name, target)


def describe(error: BaseException) -> str:
    """The kind and the message of an error, for the end of a sentence."""
    text = str(error).rstrip(".")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _from_file(place: str, target: str) -> ModuleType:
    path = Path(place).resolve()
    if not path.is_file():
        raise ModelLoadError(
            f"There is no file {place} in {Path.cwd()}; check the path in {target!r}."
        )
    name = _module_name(path)
    if name in sys.modules:
        return sys.modules[name]
    _put_first(path.parent)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ModelLoadError(f"{place} is not a Python file; a model's file ends in .py.")
    module, execute = importlib.util.module_from_spec(spec), spec.loader.exec_module
    # Before it runs, as `import` does: dataclasses and pickle look their module up here.
    sys.modules[name] = module
    try:
        _run(lambda: execute(module), target)
    except ModelLoadError:
        del sys.modules[name]
        raise
    return module


def _module_name(path: Path) -> str:
    """The file's stem, unless that is another module's name: then one of its own."""
    loaded = sys.modules.get(path.stem)
    if path.stem in sys.stdlib_module_names or (
        loaded is not None and getattr(loaded, "__file__", None) != str(path)
    ):
        return f"{path.stem}_{zlib.crc32(str(path).encode()):08x}"
    return path.stem


def _from_path(place: str, target: str) -> ModuleType:
    _put_first(Path.cwd())
    return _run(lambda: importlib.import_module(place), target, module=place)


def _put_first(folder: Path) -> None:
    if sys.path[:1] != [str(folder)]:
        sys.path.insert(0, str(folder))


def _run(run: Callable[[], _T], target: str, module: str = "") -> _T:
    """Run the user's module; `module` is its name where it has to be found first."""
    try:
        return run()
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if missing and f"{module}.".startswith(f"{missing}."):
            raise ModelLoadError(
                f"There is no module {missing} in {Path.cwd()} or among the installed packages. "
                f"For a file, write `file.py:Name`."
            ) from error
        raise ModelLoadError(
            f"{target} imports '{missing}', which is not installed in {sys.prefix}: install its "
            f"package there (from a clone of Zypher, `./run pip install PACKAGE`).",
            traceback=user_traceback(error),
        ) from error
    except SystemExit as error:
        raise ModelLoadError(
            f"Importing {target} ended the program (sys.exit); a model's module must not.",
            traceback=user_traceback(error),
        ) from error
    except BaseException as error:
        raise ModelLoadError(
            f"Importing {target} raised {describe(error)}.", traceback=user_traceback(error)
        ) from error


def _take(module: ModuleType, name: str, target: str) -> Any:
    value: Any = module
    for step in name.split("."):
        try:
            value = getattr(value, step)
        except AttributeError:
            raise ModelLoadError(
                f"{target.rpartition(':')[0]} has no '{name}'. {_advice(module, name)}"
            ) from None
    return value


def _advice(module: ModuleType, name: str) -> str:
    """What the user may have meant: the nearest of the names that could be models."""
    candidates = [
        candidate
        for candidate, value in vars(module).items()
        if not candidate.startswith("_")
        and callable(value)
        and getattr(value, "__module__", None) == module.__name__
    ]
    if near := difflib.get_close_matches(name, candidates, n=1):
        return f"Did you mean '{near[0]}'?"
    if candidates:
        return f"It has {', '.join(candidates[:5])}."
    return "It has no function or class that could be a model."
