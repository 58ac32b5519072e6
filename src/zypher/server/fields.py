"""The header fields of a request, by their names."""

from collections.abc import KeysView, Mapping
from typing import Any

from starlette.datastructures import Headers


class Fields(Headers):
    """Header fields that are put in order once, and not looked through for each name.

    They are asked for by their names in lower case, as they come (ASGI).
    """

    def __init__(self, scope: Mapping[str, Any]) -> None:
        super().__init__(raw=scope["headers"])
        self._by_name: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            self._by_name.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1"))

    @property
    def names(self) -> KeysView[str]:
        """Those that are there."""
        return self._by_name.keys()

    def __getitem__(self, key: str) -> str:
        return self._by_name[key][0]

    def __contains__(self, key: Any) -> bool:
        return key in self._by_name

    def get(self, key: str, default: Any = None) -> Any:
        values = self._by_name.get(key)
        return values[0] if values else default

    def getlist(self, key: str) -> list[str]:
        return self._by_name.get(key, [])
