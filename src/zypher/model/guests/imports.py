"""Standing in for packages that guests import and that are not installed."""

from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

_STAND_INS = {"cog": Path(__file__).with_name("cog.py")}


class StandIns:
    """Finds our own modules under the names of others.

    A meta path finder by what it does, and not by `importlib.abc`: to import that takes each
    replica a megabyte.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in _STAND_INS:
            return None
        return spec_from_file_location(fullname, _STAND_INS[fullname])
