"""What `zypher serve` and `zypher worker` do, with FastAPI and Celery: as their manuals say."""

import os
from typing import Annotated, Any

from celery import Celery
from celery.result import AsyncResult
from fastapi import Body, FastAPI, Header, Response
from redis import Redis

REDIS = os.environ["REDIS_URL"]
OTHERS = (
    *("celery", "unacked", "unacked_index", "unacked_mutex", "_kombu.binding.celery"),
    *("_kombu.binding.celery.pidbox", "_kombu.binding.celeryev"),
)
app = Celery("benchmark", broker=REDIS, backend=REDIS)
api = FastAPI()
redis = Redis.from_url(REDIS)


@app.task
def echo(value: Any) -> Any:
    """Returns what it gets."""
    return value


@api.post("/predict")
def predict(
    input: Annotated[Any, Body(embed=True)],
    response: Response,
    async_mode: Annotated[bool, Header()] = False,
) -> Any:
    """Take a task in; and wait for its result, unless it is asynchronous."""
    task = echo.delay(input)
    if async_mode:
        response.status_code = 202
        return {"prediction_id": task.id}
    return {"result": task.get()}


@api.get("/predict/{id}")
def poll(id: str) -> Any:
    """Wait for the result of a task."""
    return {"output": {"result": AsyncResult(id, app=app).get()}}


@api.get("/stats")
def stats() -> Any:
    """How many results there are: the other keys of Redis are few, and known."""
    return {"models": {"echo": {"completed": redis.dbsize() - redis.exists(*OTHERS)}}}
