"""LitServe: `litserve_app.py PORT`, with the model and its workers in the environment."""

import asyncio
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import litserve


class Echo(litserve.LitAPI):
    """Answers at once."""

    def setup(self, device: str) -> None:
        """Nothing to load."""

    def decode_request(self, request: dict[str, Any]) -> Any:
        """The input."""
        return request["input"]

    def predict(self, value: Any) -> Any:
        """The same."""
        return value

    def encode_response(self, output: Any) -> dict[str, Any]:
        """The answer."""
        return {"result": output}


class Nap(litserve.LitAPI):
    """Takes 50 ms."""

    def setup(self, device: str) -> None:
        """Nothing to load."""

    async def decode_request(self, request: dict[str, Any]) -> Any:
        """The input."""
        return request["input"]

    async def predict(self, value: Any) -> Any:
        """The same, later."""
        await asyncio.sleep(0.05)
        return value

    async def encode_response(self, output: Any) -> dict[str, Any]:
        """The answer."""
        return {"result": output}


class FloatsIn(Echo):
    """Takes 1 MB."""

    def predict(self, values: Any) -> Any:
        """As many as there are."""
        return 1


class FloatsOut(Echo):
    """Gives 1 MB."""

    def predict(self, value: Any) -> Any:
        """All of them."""
        from benchmarks.payloads import FLOATS

        return FLOATS


class Batched(Echo):
    """Takes 10 ms for a batch."""

    def predict(self, values: list[Any]) -> list[Any]:
        """The same."""
        time.sleep(0.01)
        return values


APIS: dict[str, Callable[[], litserve.LitAPI]] = {
    "echo": Echo,
    "nap": partial(Nap, enable_async=True),
    "batched": partial(Batched, max_batch_size=32, batch_timeout=0.005),
    "floats_in": FloatsIn,
    "floats_out": FloatsOut,
    "floats_both": Echo,
}

if __name__ == "__main__":
    api, workers = APIS[os.environ["MODEL"]](), int(os.environ["WORKERS"])
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=workers)
    server.run(port=int(sys.argv[1]), log_level="warning", generate_client_file=False)
