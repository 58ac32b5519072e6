"""FastAPI with the model in its own process, as one writes it in a minute."""

import asyncio
import os
from typing import Annotated, Any
from uuid import uuid4

from fastapi import BackgroundTasks, Depends, FastAPI, Header, HTTPException, Security
from fastapi.responses import JSONResponse
from fastapi.security import APIKeyHeader
from pydantic import BaseModel

from benchmarks.apps.documents import Document

MODEL, KEY = os.environ["MODEL"], os.environ.get("API_KEY")
results: dict[str, Any] = {}


async def require_key(key: Annotated[str, Security(APIKeyHeader(name="X-API-Key"))]) -> None:
    """Let in who has the key."""
    if key != KEY:
        raise HTTPException(401)


app = FastAPI(dependencies=[Depends(require_key)] if KEY else [])


class Request(BaseModel):
    """What is asked for."""

    input: Any


class DocumentRequest(BaseModel):
    """The same, with types."""

    input: Document


class FloatsRequest(BaseModel):
    """The same, with 1 MB of them."""

    input: list[float]


async def echo(
    request: Request, background: BackgroundTasks, async_mode: Annotated[bool, Header()] = False
) -> Any:
    """Answers at once; or takes the work in, and does it afterwards."""
    if not async_mode:
        return {"result": request.input}
    id = str(uuid4())
    background.add_task(run, id, request.input)
    return JSONResponse({"prediction_id": id}, status_code=202)


async def run(id: str, value: Any) -> None:
    """Does the work of one."""
    results[id] = value


async def nap(request: Request) -> Any:
    """Takes 50 ms."""
    await asyncio.sleep(0.05)
    return {"result": request.input}


async def failing(request: Request) -> Any:
    """Fails where the input is negative."""
    if request.input < 0:
        raise HTTPException(500)
    return {"result": request.input}


async def document(request: DocumentRequest) -> Any:
    """Takes what has types."""
    return {"result": len(request.input.lines)}


async def floats_in(request: FloatsRequest) -> Any:
    """Takes 1 MB."""
    return {"result": 1}


async def floats_out(request: Request) -> Any:
    """Gives 1 MB."""
    from benchmarks.payloads import FLOATS

    return {"result": FLOATS}


async def floats_both(request: FloatsRequest) -> Any:
    """Gives what it takes."""
    return {"result": request.input}


models = (echo, nap, failing, document, floats_in, floats_out, floats_both)
app.post("/predict")({model.__name__: model for model in models}[MODEL])


@app.get("/predict/{id}")
async def poll(id: str) -> Any:
    """The result of one, once it is there."""
    if id not in results:
        return JSONResponse({"status": "processing"}, status_code=202)
    return {"output": {"result": results[id]}}


@app.get("/stats")
async def stats() -> Any:
    """How many have been done."""
    return {"models": {"echo": {"completed": len(results)}}}
