"""`zypher cancel` and `zypher retry`, each for many predictions."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from zypher.cli.endings import Ending, ending_of, last_words
from zypher.cli.options import HERE, Url, connect
from zypher.cli.text import complain, put_line
from zypher.errors import Unavailable, ZypherError

if TYPE_CHECKING:
    from zypher.client import Handle

_Ids = Annotated[list[str], typer.Argument(metavar="ID", help="The predictions.")]


def cancel(ids: _Ids, url: Url = HERE) -> None:
    """Cancel predictions that wait or run.

    Prints the ids of those that are canceled now.
    """
    _for_each(ids, url, lambda handle: handle.cancel().id)


def retry(ids: _Ids, url: Url = HERE) -> None:
    """Run predictions that have ended once more.

    Prints the ids of the new predictions, in the same order.
    """
    _for_each(ids, url, lambda handle: handle.retry().id)


def _for_each(ids: list[str], url: str, call: Callable[["Handle"], str]) -> None:
    """Call for every prediction, also when one before it failed; end as the first failure does."""
    ending = Ending.DONE
    with connect(url) as client:
        for id in ids:
            try:
                put_line(call(client.handle(id)))
            except Unavailable:
                raise
            except ZypherError as error:
                complain(f"{id}: {last_words(error)}")
                ending = ending or ending_of(error)
    sys.exit(ending)
