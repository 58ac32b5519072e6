"""What is written in one turn of the loop is sent together, in its order, and never lost."""

import asyncio

import pytest

from zypher.server.writing import OneWrite

pytestmark = pytest.mark.anyio

LARGE = b"x" * 100_000


class Wire(asyncio.Transport):
    """Keeps what is sent, piece by piece."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.closed
        self.sent.append(bytes(data))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


@pytest.mark.parametrize(
    ("pieces", "sent"),
    [
        ([b"head", b"body"], [b"headbody"]),
        ([b"head", LARGE, b"tail"], [b"head", LARGE, b"tail"]),
    ],
)
async def test_small_pieces_of_one_turn_are_sent_together_and_a_large_one_by_itself(
    pieces: list[bytes], sent: list[bytes]
) -> None:
    wire = Wire()
    transport = OneWrite(wire, asyncio.get_running_loop())
    for piece in pieces:
        transport.write(piece)
    await asyncio.sleep(0)
    assert wire.sent == sent


async def test_what_was_written_before_a_close_is_sent() -> None:
    wire = Wire()
    transport = OneWrite(wire, asyncio.get_running_loop())
    transport.write(b"last words")
    transport.close()
    assert (wire.sent, wire.closed) == ([b"last words"], True)


async def test_nothing_is_written_to_a_connection_that_was_lost() -> None:
    wire = Wire()
    transport = OneWrite(wire, asyncio.get_running_loop())
    transport.write(b"too late")
    wire.close()
    transport.write_answer(b"head", b"body")
    await asyncio.sleep(0)
    assert wire.sent == []


@pytest.mark.parametrize("body", [b"body", LARGE], ids=["small", "large"])
async def test_an_answer_goes_behind_what_was_written_before_it(body: bytes) -> None:
    wire = Wire()
    transport = OneWrite(wire, asyncio.get_running_loop())
    transport.write(b"first")
    transport.write_answer(b"head", body)
    await asyncio.sleep(0)
    assert b"".join(wire.sent) == b"firsthead" + body
    assert transport.written == len(b"firsthead") + len(body)
