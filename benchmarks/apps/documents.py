"""A model with a pydantic input."""

from pydantic import BaseModel


class Line(BaseModel):
    """One line of a document."""

    name: str
    price: float
    quantity: int
    tags: list[str]


class Document(BaseModel):
    """Lines with a title."""

    title: str
    lines: list[Line]


async def document(value: Document) -> int:
    """How many lines it has."""
    return len(value.lines)
