"""Frames: what goes in at one end comes out at the other, however the bytes are cut."""

from hypothesis import given
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
