"""Models that the page is tried with."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

import zypher

MARKUP = "<img src=x onerror='window.executed = 1' class=markup>"


class Size(BaseModel):
    width: Annotated[int, Field(ge=64, le=2048)] = 512
    height: Annotated[int, Field(ge=64, le=2048)] = 512


class Painting(BaseModel):
    """What to paint."""

    prompt: Annotated[str, Field(min_length=1, description="What the picture shows.")]
    style: Literal["photo", "oil", "sketch"] = "photo"
    strength: float = 0.5
    size: Size
    frame: Size | None = None
    tags: list[str] = []
    weights: dict[str, float] = {}
    upscale: bool = False
    seed: int | str | None = None
    reference: bytes | None = None


def paint(painting: Painting) -> dict[str, Any]:
    """Says what it would paint."""
    return painting.model_dump()


async def tells(port: int) -> zypher.JoinedText:
    """Tells what the test that listens on this port has it tell, line by line."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"0\n")
    try:
        async for line in reader:
            said = json.loads(line)
            if "fraction" in said:
                zypher.current().progress(said["fraction"], said["text"])
            if "log" in said:
                zypher.current().log(said["log"])
            if "output" in said:
                yield said["output"]
    finally:
        writer.close()


class Greeter:
    """Greets."""

    example = "Ada"

    def predict(self, name: str) -> str:
        return f"Hello, {name}!"


class Wicked(BaseModel):
    # Everything that a model's author may choose.
    __doc__ = MARKUP
    choice: Annotated[str, Field(title=MARKUP, description=MARKUP, alias=MARKUP)] = MARKUP
    kind: Literal["<b class=markup>", "plain"] = "<b class=markup>"


async def wicked(value: Wicked) -> AsyncIterator[str]:
    zypher.current().progress(0.5, MARKUP)
    zypher.current().log(MARKUP)
    yield MARKUP
    if value.kind == "plain":
        raise ValueError(MARKUP)


wicked.__doc__ = MARKUP
