"""Models that were written for other servers, and are served as they are.

Nothing of the others is imported: what a model brings along is read by what it looks like.
"""

import sys
from typing import Any

from zypher.model.guests.imports import StandIns


def welcome() -> None:
    """Let the code of guests be imported, also where what it was written for is not installed."""
    if not any(isinstance(finder, StandIns) for finder in sys.meta_path):
        sys.meta_path.append(StandIns())  # the last to be asked: what is installed comes first


def adapted(owner: Any, target: str) -> Any:
    """A guest as a function that can be served; whatever is none, as it is.

    Raises ModelLoadError, in one sentence, for what cannot be served.
    """
    if "cog" not in sys.modules:
        return owner
    from zypher.model.guests import predictor

    return predictor.adapted(owner, target) if predictor.is_predictor(owner) else owner
