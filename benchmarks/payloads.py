"""What is sent, and what comes back: the same for all."""

from random import Random
from typing import Any

_random = Random(1)

# 1 MB of JSON.
FLOATS = [_random.random() for _ in range(52_000)]

# 4 KB of JSON.
DOCUMENT: dict[str, Any] = {
    "title": "An order",
    "lines": [
        {"name": f"article {n}", "price": n / 7, "quantity": n, "tags": ["new", "blue"]}
        for n in range(48)
    ],
}
