"""Frames: what goes in at one end comes out at the other, however the bytes are cut."""

import tracemalloc
from contextlib import suppress

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from zypher.prediction import Claim, Failure, Outcome
from zypher.replicas.frames import (
    Call,
    Cancel,
    Finished,
    FrameReader,
    LoadFailed,
    Message,
    Run,
    Told,
    encode,
)

claims = st.builds(Claim, st.text(max_size=40), st.integers(0, 2**40))
failures = st.builds(Failure, st.text(max_size=20), st.text(max_size=200))
outcomes = st.builds(Outcome, st.none() | st.binary(max_size=2000), st.none() | failures)
messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(Run, st.lists(st.builds(Call, claims, st.binary(max_size=2000)), max_size=5)),
    st.builds(Cancel, st.lists(claims, max_size=5)),
    st.builds(Told, st.lists(claims, max_size=5), st.text(max_size=20), st.binary(max_size=2000)),
    st.builds(Finished, st.lists(st.tuples(claims, outcomes), max_size=5)),
    st.builds(LoadFailed, st.text(max_size=100), st.none() | st.text(max_size=100)),
)


@given(st.lists(messages, max_size=6), st.lists(st.integers(1, 700)))
def test_messages_survive_any_cutting_of_the_stream(sent: list[Message], sizes: list[int]) -> None:
    stream = b"".join(map(encode, sent))
    reader = FrameReader()
    received: list[Message] = []
    for size in sizes:
        received += reader.feed(stream[:size])
        stream = stream[size:]
    received += reader.feed(stream)
    assert received == sent


def test_a_frame_of_many_megabytes_arrives_whole() -> None:
    sent = Run([Call(Claim("id", 1), b"x" * 20_000_000)])
    stream = encode(sent)
    reader = FrameReader()
    received = [
        message
        for start in range(0, len(stream), 262_144)
        for message in reader.feed(stream[start : start + 262_144])
    ]
    assert received == [sent]


@given(st.lists(st.binary(max_size=300), max_size=8))
@example([b"\xff\xff\xff\xff"])
@example([b"\x00\x00\x00\x00"])
@example([b"\x00\x00\x00\x01", b"\xc1"])
def test_bytes_that_are_no_frames_are_nothing_or_an_error_that_is_expected(
    pieces: list[bytes],
) -> None:
    reader = FrameReader()
    for piece in pieces:
        try:
            received = list(reader.feed(piece))
        except ValueError:
            return
        assert all(isinstance(message, Message) for message in received)


@given(st.lists(messages, min_size=1, max_size=3), st.data())
def test_a_message_that_was_changed_on_the_way_is_another_one_or_an_error_that_is_expected(
    sent: list[Message], data: st.DataObject
) -> None:
    stream = bytearray(b"".join(map(encode, sent)))
    for place in data.draw(st.lists(st.integers(0, len(stream) - 1), min_size=1, max_size=8)):
        stream[place] = data.draw(st.integers(0, 255))
    with suppress(ValueError):
        assert all(isinstance(message, Message) for message in FrameReader().feed(bytes(stream)))


@pytest.mark.parametrize("length", [2**31, 2**32 - 1])
def test_a_frame_takes_no_room_for_what_has_not_arrived(length: int) -> None:
    reader = FrameReader()
    tracemalloc.start()
    try:
        with suppress(ValueError):
            assert list(reader.feed(length.to_bytes(4) + b"x" * 1000)) == []
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_what_msgspec_refuses_is_a_value_error() -> None:
    assert issubclass(msgspec.DecodeError, ValueError)
    assert issubclass(msgspec.ValidationError, ValueError)
