"""What the author of a model tests it with: in the process of a test, or behind a real server.

    assert zypher.testing.predict(Sentiment, "all is fine") == {"score": 0.5}

Whoever writes a broker has `zypher.testing.contract`, `zypher.testing.machine` and
`zypher.testing.clock`, which need pytest, anyio and hypothesis.
"""

from zypher.testing.models import LoadedModel, loaded, predict
from zypher.testing.servers import serving

__all__ = ["LoadedModel", "loaded", "predict", "serving"]
