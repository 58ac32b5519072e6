"""1 MB of floats as the input, and 1 MB of floats as the result.

Synchronous calls over 4 connections, all processes of the server on one core, wrk on the other:
models that take a megabyte, give one, and give back the one that they took. Zypher's and FastAPI's
say `list[float]`, so that every number is checked; LitServe checks nothing. `raw` does not look at
what it reads, and answers with a megabyte that it has ready, or with what it has read.

Then the stages of one call of Zypher that takes and gives a megabyte, alone on one connection. Its
model tells when it began and ended, so that the way in and the way out are known. Beside them,
what parts of this take by themselves: with the libraries that Zypher uses, and through a pair of
sockets.
"""

import json
import socket
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import jsonschema_rs
import msgspec

from benchmarks.client import Caller, post
from benchmarks.payloads import FLOATS
from benchmarks.processes import processor_time
from benchmarks.systems import FASTAPI, LITSERVE, PROGRAMS, RAW, ZYPHER, Setup, System, serving
from benchmarks.tables import Bench, ratio, table
from benchmarks.wrk import Answers, ask, median

CONNECTIONS, CALLS = 4, 50


def floats(bench: Bench) -> None:
    """1 MB in, 1 MB out."""
    compare(bench, "floats_in", FLOATS)
    compare(bench, "floats_out", 1)
    compare(bench, "floats_both", FLOATS)
    if ZYPHER.name in bench.names:
        stages()


def compare(bench: Bench, model: str, input: object) -> None:
    """One of the models."""
    setup = Setup(model, pinned=True)

    def measure(system: System, programs: Path) -> Answers:
        """Warm up, then ask."""
        with serving(system, programs, setup) as service:
            ask(service, setup, [input], CONNECTIONS, 1)
            return ask(service, setup, [input], CONNECTIONS, bench.seconds)

    report(model, bench.in_turns(model, (RAW, ZYPHER, FASTAPI, LITSERVE), measure))


def report(model: str, figures: dict[str, list[Answers]]) -> None:
    """Medians; the errors are those of all rounds."""
    rates = {name: median(rounds, "rate") for name, rounds in figures.items()}
    table(
        f"{model}, 1 MB, {CONNECTIONS} connections",
        ("answers/s", "x raw", "x LitServe", "p50 ms", "p99 ms", "errors"),
        {
            name: (
                f"{rates[name]:,.0f}",
                ratio(rates[name], rates.get("raw")),
                ratio(rates[name], rates.get("LitServe")),
                f"{median(rounds, 'p50'):.1f}",
                f"{median(rounds, 'p99'):.1f}",
                f"{sum(answers.errors for answers in rounds)}",
            )
            for name, rounds in figures.items()
        },
    )


def stages() -> None:
    """Where the time of one call goes, in milliseconds (medians)."""
    request = post("/predict", FLOATS)
    text = json.dumps(FLOATS, separators=(",", ":")).encode()
    validator = jsonschema_rs.validator_for({"type": "array", "items": {"type": "number"}})
    with (
        serving(ZYPHER, PROGRAMS, Setup("floats_timed")) as (port, _, (server, *_), _),
        Caller(port) as caller,
    ):
        ways_of(caller, request)
        (replica,) = server.children()
        before = processor_time(server), processor_time(replica)
        ways = [ways_of(caller, request) for _ in range(CALLS)]
        used = processor_time(server), processor_time(replica)
    way_in, way_out = map(statistics.median, zip(*ways, strict=True))
    in_all, in_replica = (1e3 * (b - a) / CALLS for a, b in zip(before, used, strict=True))
    parts = {
        "from the request to the model": way_in,
        "from the model to the answer": way_out,
        "processor time of the server": in_all - in_replica,
        "processor time of the replica": in_replica,
        "by itself: the text decoded": timed(lambda: msgspec.json.decode(text)),
        "... checked by its schema": timed(lambda: validator.is_valid(FLOATS)),
        "... encoded": timed(lambda: msgspec.json.encode(FLOATS)),
        "... through a pair of sockets": timed(lambda: through_sockets(text)),
    }
    table("the stages of 1 MB in and out", ("ms",), {n: (f"{t:.2f}",) for n, t in parts.items()})


def ways_of(caller: Caller, request: bytes) -> tuple[float, float]:
    """Milliseconds of one call until its model began, and since that ended."""
    sent = time.perf_counter()
    answer = caller.call(request)
    back = time.perf_counter()
    result = answer.json["result"]
    return 1e3 * (result["began"] - sent), 1e3 * (back - result["ended"])


def timed(part: Callable[[], object]) -> float:
    """Milliseconds (median)."""
    took = []
    for _ in range(CALLS):
        started = time.perf_counter()
        part()
        took.append(1e3 * (time.perf_counter() - started))
    return statistics.median(took)


def through_sockets(text: bytes) -> None:
    """From one thread to another."""
    here, there = socket.socketpair()
    with here, there:
        writer = Thread(target=here.sendall, args=(text,))
        writer.start()
        left = len(text)
        while left:
            left -= len(there.recv(left))
        writer.join()
