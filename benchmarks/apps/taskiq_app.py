"""What `zypher serve` and `zypher worker` do, with FastAPI and taskiq: as their manuals say."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Body, FastAPI, Header, Response
from redis.asyncio import Redis
from taskiq import AsyncTaskiqTask
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

# The least that it sleeps between two looks for a result, in seconds.
INTERVAL = 0.001

REDIS = os.environ["REDIS_URL"]
results: RedisAsyncResultBackend[Any] = RedisAsyncResultBackend(REDIS, result_ex_time=3600)
broker = RedisStreamBroker(REDIS).with_result_backend(results)
redis = Redis.from_url(REDIS)


@broker.task
async def echo(value: Any) -> Any:
    """Returns what it gets."""
    return value


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Open the broker, and close it."""
    await broker.startup()
    yield
    await broker.shutdown()


app = FastAPI(lifespan=lifespan)


@app.post("/predict")
async def predict(
    input: Annotated[Any, Body(embed=True)],
    response: Response,
    async_mode: Annotated[bool, Header()] = False,
) -> Any:
    """Take a task in; and wait for its result, unless it is asynchronous."""
    task: AsyncTaskiqTask[Any] = await echo.kiq(input)
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


@app.get("/stats")
async def stats() -> Any:
    """How many results there are: Redis has nothing else but the queue."""
    queue = await redis.exists("taskiq", "autoclaim:taskiq:taskiq")
    return {"models": {"echo": {"completed": await redis.dbsize() - queue}}}
