"""LitServe: `litserve_app.py MODEL WORKERS PORT`, with MODEL `echo`, `nap` or `batched`."""

import asyncio
import sys
import time
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


class Batched(Echo):
    """Takes 10 ms for a batch."""

    def predict(self, values: list[Any]) -> list[Any]:
        """The same."""
        time.sleep(0.01)
        return values


def api(model: str) -> litserve.LitAPI:
    """The API of a model."""
    if model == "nap":
        return Nap(enable_async=True)
    return Batched(max_batch_size=32, batch_timeout=0.005) if model == "batched" else Echo()


if __name__ == "__main__":
    model, workers, port = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    server = litserve.LitServer(api(model), accelerator="cpu", workers_per_device=workers)
    server.run(port=port, log_level="warning", generate_client_file=False)
