"""Watching the files of a model's code, for `--reload`."""

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple


class Stamp(NamedTuple):
    """What changes when a file is saved, whether it is written anew or another takes its place."""

    saved: int
    size: int
    inode: int


class Watch:
    """The files of one model's code, and how they were when it was loaded."""

    def __init__(self) -> None:
        self._loaded: dict[str, Stamp | None] = {}
        self._seen: dict[str, Stamp | None] = {}

    def add(self, files: Iterable[str], since: float) -> None:
        """These hold code that began to be loaded at this time, in seconds since the epoch."""
        for file in files:
            if file not in self._loaded:
                stamp = _stamp(file)
                self._loaded[file] = None if _was_saved(stamp, since) else stamp

    def keep(self, files: Iterable[str]) -> None:
        """All code is in these now: others need not be watched any more."""
        kept = set(files)
        self._loaded = {file: stamp for file, stamp in self._loaded.items() if file in kept}

    def saved(self) -> list[str]:
        """The files that were saved since they were loaded, told once.

        Only when all have stayed as they are since the last look: an editor may be in the middle
        of it, or the next file about to be saved.
        """
        before, self._seen = self._seen, {file: _stamp(file) for file in self._loaded}
        if self._seen != before:
            return []
        saved = [file for file, stamp in self._seen.items() if stamp != self._loaded[file]]
        self._loaded = dict(self._seen)
        return [file for file in saved if self._seen[file] is not None]


def _stamp(file: str) -> Stamp | None:
    try:
        status = Path(file).stat()
    except (OSError, ValueError):
        return None
    return Stamp(status.st_mtime_ns, status.st_size, status.st_ino)


def _was_saved(stamp: Stamp | None, since: float) -> bool:
    """True if the file was saved after this time. One from the future is of another clock."""
    return stamp is not None and since <= stamp.saved / 1e9 <= time.time()


def names_of(files: Iterable[str]) -> str:
    """Files as a person calls them."""
    return ", ".join(os.path.relpath(file) for file in files)
