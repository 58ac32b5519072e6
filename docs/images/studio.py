"""The models in the pictures of the page."""

import asyncio
from typing import Annotated, Literal

from pydantic import BaseModel, Field

import zypher

# Two hills and a moon.
PICTURE = (
    "data:image/svg+xml;utf8,<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 240 120'>"
    "<rect width='240' height='120' fill='%23123a44'/><circle cx='178' cy='38' r='17' "
    "fill='%23f4e3b2'/><path d='M0 92Q60 40 120 84T240 70V120H0Z' fill='%231f6f6b'/>"
    "<path d='M0 106Q80 70 150 104T240 96V120H0Z' fill='%230b2b33'/></svg>"
)


class Picture(BaseModel):
    prompt: Annotated[str, Field(min_length=1, max_length=500, description="What it shows.")]
    style: Literal["photo", "oil", "sketch"] = "photo"
    steps: Annotated[int, Field(ge=1, le=50, description="More steps, more detail.")] = 20
    reference: Annotated[bytes | None, Field(description="A picture to start from.")] = None


async def paint(picture: Picture) -> dict[str, str]:
    """Paints what you describe."""
    for step in range(1, picture.steps + 1):
        await asyncio.sleep(0.1)
        zypher.current().progress(step / picture.steps, f"step {step} of {picture.steps}")
    if not picture.prompt.isprintable():
        raise ValueError("The prompt has characters that cannot be painted.")
    return {"image": PICTURE}


async def tell(beginning: str) -> zypher.JoinedText:
    """Goes on with a story, word by word."""
    for word in f"{beginning} there was a model that nobody had served yet".split():
        await asyncio.sleep(0.3)
        yield word + " "
