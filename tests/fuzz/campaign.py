"""Sends what the generators make to a real server, and sees what it answers and what it holds."""

import asyncio
import json
import os
import random
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from types import CodeType
from typing import NamedTuple
from urllib.parse import urlsplit

import psutil

from tests.fuzz.generators import KINDS, MODELS, Generator, cut_off, endless
from tests.fuzz.served import SOURCE
from tests.harness import Server, target

# So many connections at once, each with one input after the other.
CALLERS = 24

# An answer that has not begun after so long does not come: the server waits for more. In seconds.
SILENCE = 1.0
PATIENCE = 20.0

# What a probe may take while all that goes on, on a machine that is busy with it.
PROBE_PATIENCE = 10.0

# 5xx that are no fault of the server: what the model did, and what it is too late or too full for.
EXPECTED = {"model_error", "unavailable", "run_timeout", "queue_timeout", "deadline"}

# What memory may grow by, in bytes: allocators keep some.
ROOM = 80_000_000

_CODE = re.compile(rb'"code":"([a-z_]+)"')
_ID = re.compile(rb'"prediction_id":"([0-9a-f-]{36})"')


class Outcome(NamedTuple):
    """One answer: its status and, if it is a problem, its code."""

    status: int
    code: str = ""


class Usage(NamedTuple):
    """What a server holds."""

    memory: int
    files: int
    threads: int
    tasks: int


class Row(NamedTuple):
    """What came of one kind of input. `lines`: places in the server's code that it reached."""

    kind: str
    inputs: int
    outcomes: Counter[Outcome]
    silent: int
    lines: set[tuple[str, int]]
    memory: int


class Report(NamedTuple):
    """What came of all."""

    rows: list[Row]
    before: Usage
    after: Usage
    slowest_probe: float
    violations: list[str]


class Fuzzed(Server):
    """A server whose lines are counted."""

    def __init__(self, notes: Path) -> None:
        self._notes = notes
        self._number = 0
        super().__init__(
            *map(target, MODELS),
            *("--client-timeout", "2", "--ttl", "2", "--max-body-size", "1000000"),
            *("--cors-origins", "https://app.example", "--sync-timeout", "5"),
            prefix=(sys.executable, "-c", _START, str(notes)),
        )

    def told(self) -> tuple[set[tuple[str, int]], int, Counter[str]]:
        """The lines that ran since it was asked last, its tasks, and unsafe events."""
        note = self._notes / f"{self._number}.json"
        self._number += 1
        self.process.send_signal(signal.SIGUSR2)
        _wait_for(note.exists, "the server writes nothing down")
        told = json.loads(note.read_text())
        return (
            {(file, line) for file, line in told["lines"]},
            told["tasks"],
            Counter(told["events"]),
        )

    def usage(self) -> tuple[Usage, set[tuple[str, int]], Counter[str]]:
        """What it holds; and what it told."""
        process = psutil.Process(self.process.pid)
        lines, tasks, events = self.told()
        usage = Usage(process.memory_info().rss, process.num_fds(), process.num_threads(), tasks)
        return usage, lines, events


# The server's program is given as it is; this runs the same one with its lines counted.
_START = (
    "import sys, runpy; notes, _, *arguments = sys.argv[1:]; "
    "sys.argv = ['zypher', notes, *arguments]; "
    "runpy.run_module('tests.fuzz.served', None, '__main__')"
)


def run(inputs: int, seed: int, kinds: Iterable[str] = KINDS) -> Report:
    """So many inputs in all, or a few more: the same number of each kind."""
    kinds = list(kinds)
    with TemporaryDirectory() as notes, _root_on_path(), Fuzzed(Path(notes)) as server:
        return asyncio.run(Campaign(server, seed).run(kinds, -(-inputs // len(kinds))))


class Campaign:
    """One server, and all that is sent to it."""

    def __init__(self, server: Fuzzed, seed: int) -> None:
        self._server = server
        self._seed = seed
        self._ids = [b"0" * 36]
        parts = urlsplit(server.url)
        self._address = parts.hostname, parts.port
        self._slowest = 0.0
        self._violations: list[str] = []

    async def run(self, kinds: list[str], each: int) -> Report:
        """The table of what came of it."""
        replicas = {replica.pid for replica in self._server.replicas()}
        await asyncio.to_thread(self._server.client.get, "/livez")
        self._files = psutil.Process(self._server.process.pid).num_fds()
        await asyncio.gather(*(self._send(kind, each // 20 + 5) for kind in kinds))  # warm-up
        before = (await self._settled())[0]
        probing = asyncio.create_task(self._probe())
        rows = [await self._row(kind, each) for kind in kinds]
        probing.cancel()
        after, _, _ = await self._settled()
        if {replica.pid for replica in self._server.replicas()} != replicas:
            self._violations.append("a replica has died")
        self._compare(before, after)
        self._read_log()
        return Report(rows, before, after, self._slowest, self._violations)

    async def _row(self, kind: str, inputs: int) -> Row:
        await asyncio.to_thread(self._server.told)  # what the probes and the one before reached
        outcomes, silent = await self._send(kind, inputs)
        usage, lines, events = await asyncio.to_thread(self._server.usage)
        for outcome, number in outcomes.items():
            if outcome.status >= 500 and outcome.code not in EXPECTED:
                self._violations.append(f"{kind}: {number} times {outcome}")
        if silent and KINDS[kind] is endless:
            self._violations.append(f"{kind}: {silent} were not refused")
        if unsafe := {name: number for name, number in events.items() if name not in _IMPORTS}:
            self._violations.append(f"{kind}: the interpreter was asked to {unsafe}")
        return Row(kind, inputs, outcomes, silent, lines, usage.memory)

    async def _send(self, kind: str, inputs: int) -> tuple[Counter[Outcome], int]:
        rng = random.Random(f"{self._seed} {kind}")
        work = iter(range(inputs))
        results = await asyncio.gather(
            *(self._caller(KINDS[kind], rng, work) for _ in range(CALLERS))
        )
        outcomes: Counter[Outcome] = Counter()
        for some, _ in results:
            outcomes += some
        return outcomes, sum(silent for _, silent in results)

    async def _caller(
        self, generate: Generator, rng: random.Random, work: Iterator[int]
    ) -> tuple[Counter[Outcome], int]:
        outcomes: Counter[Outcome] = Counter()
        silent = 0
        for _ in work:
            data = generate(rng).replace(b"ID", rng.choice(self._ids))
            answers = await self._answers(data, 0.0 if generate is cut_off else SILENCE)
            outcomes.update(answers)
            silent += not answers
        return outcomes, silent

    async def _answers(self, data: bytes, patience: float = SILENCE) -> list[Outcome]:
        """What the server answers to these bytes until it closes or has no more to say."""
        reader, writer = await asyncio.open_connection(*self._address)
        answers: list[Outcome] = []
        try:
            writer.write(data)
            for _ in range(max(1, data.count(b" HTTP/"))):
                async with asyncio.timeout(patience):
                    head = await reader.readuntil(b"\r\n\r\n")
                async with asyncio.timeout(PATIENCE):
                    answers.append(await self._outcome(head, reader, data))
                if b"chunked" in head or b"connection: close" in head or b"HEAD " in data:
                    break  # of a stream the beginning is enough; or which has a body, is not known
        except (
            OSError,
            TimeoutError,
            asyncio.IncompleteReadError,
            asyncio.LimitOverrunError,
            ValueError,
        ):
            pass  # it says no more
        finally:
            writer.transport.abort()
        return answers

    async def _outcome(self, head: bytes, reader: asyncio.StreamReader, data: bytes) -> Outcome:
        status = int(head.split(b" ", 2)[1])
        size = re.search(rb"(?i)\ncontent-length: (\d+)", head)
        body = b""
        if size and not data.startswith(b"HEAD "):
            body = await reader.readexactly(int(size[1]))
        if found := _ID.search(body):
            self._ids = [*self._ids[-200:], found[1]]
        if b"application/problem+json" not in head:
            return Outcome(status)
        code = _CODE.search(body)  # of no body, where HEAD was asked
        return Outcome(status, code[1].decode() if code else "")

    async def _probe(self) -> None:
        """A neighbour, who is to be answered all the time."""
        while True:
            begun = time.monotonic()
            probe = b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
            answers = await self._answers(probe, PROBE_PATIENCE)
            self._slowest = max(self._slowest, time.monotonic() - begun)
            if answers != [Outcome(200)]:
                self._violations.append(f"/readyz was answered with {answers}")
            await asyncio.sleep(0.2)

    async def _settled(self) -> tuple[Usage, set[tuple[str, int]], Counter[str]]:
        """What it holds once it has nothing to do any more."""
        await asyncio.to_thread(_wait_for, self._is_idle, "the server does not come to rest")
        return await asyncio.to_thread(self._server.usage)

    def _is_idle(self) -> bool:
        models = self._server.client.get("/stats").json()["models"].values()
        files = psutil.Process(self._server.process.pid).num_fds()
        return files <= self._files and not any(m["queued"] + m["processing"] for m in models)

    def _compare(self, before: Usage, after: Usage) -> None:
        if after.memory > before.memory + ROOM:
            self._violations.append(f"memory grew from {before.memory} to {after.memory} bytes")
        for name in ("files", "threads", "tasks"):
            if getattr(after, name) > getattr(before, name) + 5:
                self._violations.append(f"{name} grew: {before} {after}")

    def _read_log(self) -> None:
        for line in self._server.lines:
            if line.startswith(("Traceback", "ERROR")):  # not what a model writes
                self._violations.append(f"in the log: {line.strip()}")
        if self._server.process.poll() is not None:
            self._violations.append("the server has ended")


# What an import does that comes late.
_IMPORTS = {"exec", "compile"}


def lines_of_functions() -> set[tuple[str, int]]:
    """All places in the server's code that a request could reach: what is in functions."""
    places: set[tuple[str, int]] = set()

    def collect(code: CodeType, is_function: bool) -> None:
        if is_function:
            places.update((code.co_filename, n) for _, _, n in code.co_lines() if n is not None)
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                collect(constant, is_function or not _is_class(code, constant))

    for path in Path(SOURCE).rglob("*.py"):
        collect(compile(path.read_text(), str(path), "exec"), False)
    return places


def _is_class(outer: CodeType, code: CodeType) -> bool:
    return "__qualname__" in code.co_names and "__module__" in code.co_names


def _wait_for(condition: object, else_say: str) -> None:
    assert callable(condition)
    deadline = time.monotonic() + PATIENCE * 3
    while not condition():
        assert time.monotonic() < deadline, else_say
        time.sleep(0.05)


@contextmanager
def _root_on_path() -> Iterator[None]:
    """The server finds the tests, as this process does."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[2])
    try:
        yield
    finally:
        with suppress(KeyError):
            del os.environ["PYTHONPATH"]
        if before is not None:
            os.environ["PYTHONPATH"] = before
