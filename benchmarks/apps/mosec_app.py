"""Mosec: `mosec_app.py --port PORT`, with the model and its workers in the environment."""

import os
import time
from typing import Any

from mosec import Server, Worker


class Echo(Worker):
    """Answers at once."""

    def forward(self, data: dict[str, Any]) -> dict[str, Any]:
        return {"result": data["input"]}


class Batched(Worker):
    """Takes 10 ms for a batch."""

    def forward(self, data: list[dict[str, Any]]) -> list[dict[str, Any]]:
        time.sleep(0.01)
        return [{"result": one["input"]} for one in data]


if __name__ == "__main__":
    server = Server()
    workers = int(os.environ["WORKERS"])
    if os.environ["MODEL"] == "batched":
        server.append_worker(Batched, num=workers, max_batch_size=32, max_wait_time=5)
    else:
        server.append_worker(Echo, num=workers)
    server.run()
