"""A replica that says what no replica says is a crash of that replica, and of nobody else."""

import os
from collections.abc import Iterator

import pytest

from tests.harness import Server, target
from zypher.prediction import Claim, Outcome
from zypher.replicas.frames import Described, Finished, Told, encode


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(target("echo"), target("scribble"), "--max-crashes", "1") as server:
        yield server


GARBAGE = {
    "random bytes": b"\xff" + os.urandom(500),
    "a frame of 4 GB": b"\xff\xff\xff\xff" + b"x" * 1000,
    "an empty frame": b"\0\0\0\0",
    "no message": b"\0\0\0\1\xc1",
    "the outcome of a run that it does not have": encode(
        Finished([(Claim("unknown", 1), Outcome(b"1"))])
    ),
    "words about no run": encode(Told([Claim("unknown", 7)], "log", b'"x"')),
    "what it said at its start": encode(Described("", {}, None, 1, True, None, [])),
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
def test_garbage_from_a_replica_ends_that_replica_alone(server: Server, garbage: bytes) -> None:
    answer = server.predict(garbage.hex(), model="scribble")
    assert (answer.status_code, answer.json().get("code")) in [(500, "model_crashed"), (200, None)]
    assert server.predict("x", model="echo").json() == {"input": "x", "result": "x"}
    assert server.process.poll() is None
    assert not any("Traceback" in line for line in server.lines)
