"""FastAPI with the model in its own process, as one writes it in a minute."""

import asyncio
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()


class Request(BaseModel):
    """What is asked for."""

    input: Any


@app.post("/predict")
async def predict(request: Request) -> dict[str, Any]:
    """Answers at once."""
    return {"result": request.input}


@app.post("/nap")
async def nap(request: Request) -> dict[str, Any]:
    """Takes 50 ms."""
    await asyncio.sleep(0.05)
    return {"result": request.input}
