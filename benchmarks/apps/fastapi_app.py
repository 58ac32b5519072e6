"""FastAPI with the model in its own process, as one writes it in a minute."""

import asyncio
from typing import Annotated, Any
from uuid import uuid4

from fastapi import BackgroundTasks, FastAPI, Header
from fastapi.responses import JSONResponse
from pydantic import BaseModel

app = FastAPI()
results: dict[str, Any] = {}


class Request(BaseModel):
    """What is asked for."""

    input: Any


@app.post("/predict")
async def predict(
    request: Request, background: BackgroundTasks, async_mode: Annotated[bool, Header()] = False
) -> Any:
    """Answers at once; or takes the work in, and does it afterwards."""
    if not async_mode:
        return {"result": request.input}
    id = str(uuid4())
    background.add_task(run, id, request.input)
    return JSONResponse({"prediction_id": id}, status_code=202)


@app.get("/stats")
async def stats() -> Any:
    """How many have been done."""
    return {"models": {"echo": {"completed": len(results)}}}


async def run(id: str, value: Any) -> None:
    """Does the work of one."""
    results[id] = value


@app.post("/nap")
async def nap(request: Request) -> dict[str, Any]:
    """Takes 50 ms."""
    await asyncio.sleep(0.05)
    return {"result": request.input}
