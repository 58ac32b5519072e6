"""What `zypher serve` and `zypher worker` do, with FastAPI and taskiq: as their manuals say.

It runs in an environment of its own, that `redis_queue.py` makes.
"""

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Body, FastAPI, Header, Response
from taskiq import AsyncTaskiqTask, TaskiqEvents, TaskiqState
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

# The least that it sleeps between two looks for a result, in seconds.
INTERVAL = 0.001

REDIS = os.environ["REDIS_URL"]
results: RedisAsyncResultBackend[Any] = RedisAsyncResultBackend(REDIS, result_ex_time=3600)
broker = RedisStreamBroker(REDIS).with_result_backend(results)


@broker.task
async def echo(value: Any) -> Any:
    """Returns what it gets."""
    return value


@broker.task
def nap(value: Any) -> Any:
    """Returns what it gets, after blocking for 50 ms."""
    time.sleep(0.05)
    return value


@broker.on_event(TaskiqEvents.WORKER_STARTUP)
async def tell(_: TaskiqState) -> None:
    """Have the benchmark know that one more worker is up."""
    print("Working", flush=True)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Open the broker, and close it."""
    await broker.startup()
    print("Serving", flush=True)
    yield
    await broker.shutdown()


app = FastAPI(lifespan=lifespan)
model = {"echo": echo, "nap": nap}[os.environ["MODEL"]]


@app.post("/predict")
async def predict(
    input: Annotated[Any, Body(embed=True)],
    response: Response,
    async_mode: Annotated[bool, Header()] = False,
) -> Any:
    """Take a task in; and wait for its result, unless it is asynchronous."""
    task: AsyncTaskiqTask[Any] = await model.kiq(input)
    if async_mode:
        response.status_code = 202
        return {"prediction_id": task.task_id}
    return {"result": (await task.wait_result(check_interval=INTERVAL)).return_value}


@app.get("/predict/{id}")
async def poll(id: str) -> Any:
    """Wait for the result of a task."""
    task: AsyncTaskiqTask[Any] = AsyncTaskiqTask(id, results)
    result = await task.wait_result(check_interval=INTERVAL)
    return {"output": {"result": result.return_value}}
