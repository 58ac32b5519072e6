"""Paging through the list of predictions."""

from zypher.client.calls import Calls, Steps
from zypher.client.values import Record, Status

# The most that a server puts on one page.
_PAGE = 200


class Listing:
    """The list, page by page, as long as there `is_more`."""

    def __init__(
        self, calls: Calls, status: Status | None, model: str | None, limit: int | None
    ) -> None:
        given = {"status": status, "model": model}
        self._calls = calls
        self._query = {name: value for name, value in given.items() if value is not None}
        self._left = limit
        self.is_more = limit is None or limit > 0

    def page(self) -> Steps[list[Record]]:
        """The records of the next page."""
        size = _PAGE if self._left is None else min(_PAGE, self._left)
        page = yield from self._calls.page(self._query | {"limit": str(size)})
        if self._left is not None:
            self._left -= len(page.predictions)
        self.is_more = page.cursor is not None and self._left != 0
        if page.cursor is not None:
            self._query["cursor"] = page.cursor
        return page.predictions
