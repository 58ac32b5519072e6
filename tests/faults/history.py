"""What happened while a fault test ran, as those saw it who took part. It only ever grows.

All times are of the machine's one monotonic clock, which every process reads the same.
"""

import hashlib
import json
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

TERMINAL = ("completed", "failed", "canceled")


@dataclass(frozen=True)
class Submit:
    """A client asked for a prediction. `unknown`: no answer came, so it may be in or not."""

    token: str
    asked: float
    answered: float
    outcome: Literal["ok", "fail", "unknown"]
    id: str = ""
    status: int | None = None  # of the answer, if there was one


@dataclass(frozen=True)
class Seen:
    """A client asked what became of an id; `status` is `missing` where the answer was a 404."""

    id: str
    asked: float
    answered: float
    status: str
    outcome: str = ""  # of a final one: its whole record, as a digest
    code: str = ""  # of its failure
    token: str = ""  # the one in its result

    @property
    def final(self) -> bool:
        """True if the client was told that this will never change."""
        return self.status in TERMINAL


@dataclass(frozen=True)
class Rebuff:
    """A client asked what became of an id, and was not told."""

    id: str
    why: Literal["no connection", "cut off", "refused"]


@dataclass(frozen=True)
class Run:
    """One run of the model, by its own log. `ended` is None if it never came to its end."""

    token: str
    pid: int
    server: int  # the pid of the process that started it
    started: float
    ended: float | None = None


@dataclass(frozen=True)
class Fault:
    """What was done to the system; `pid` is the process that it ended, if it ended one."""

    at: float
    what: str
    pid: int | None = None


@dataclass(frozen=True)
class Finish:
    """A worker told a broker how an attempt ended, when `latest` had been claimed last."""

    id: str
    attempt: int
    latest: int
    accepted: bool


@dataclass(frozen=True)
class Counts:
    """What a server that had nothing left to do said of its queue."""

    queued: int
    processing: int


@dataclass
class History:
    """Everything, each kind in the order in which it was written down."""

    submits: list[Submit] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    rebuffs: list[Rebuff] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    finishes: list[Finish] = field(default_factory=list)
    counts: list[Counts] = field(default_factory=list)
    overdue: list[str] = field(default_factory=list)  # ids that should have ended by then
    starts: list[float] = field(default_factory=list)  # when a server's process was started
    recoveries: list[float] = field(default_factory=list)  # seconds, where no start shows them

    @property
    def accepted(self) -> dict[str, Submit]:
        """The submits that were promised to be kept, by id."""
        return {submit.id: submit for submit in self.submits if submit.outcome == "ok"}

    def note(self, what: str, pid: int | None = None) -> None:
        """A fault is injected now."""
        self.faults.append(Fault(time.monotonic(), what, pid))

    def forgive(self, lost: Iterable[str]) -> None:
        """These were lost where nobody had promised to keep them."""
        lost = set(lost)
        self.submits = [submit for submit in self.submits if submit.id not in lost]
        self.overdue = [id for id in self.overdue if id not in lost]

    def without(self, tokens: Collection[str]) -> "History":
        """All of it but what is told of these."""
        ids = {submit.id for submit in self.submits if submit.token in tokens}
        return replace(
            self,
            submits=[submit for submit in self.submits if submit.token not in tokens],
            runs=[run for run in self.runs if run.token not in tokens],
            seen=[seen for seen in self.seen if seen.id not in ids],
            overdue=[id for id in self.overdue if id not in ids],
        )

    def saw(self, id: str, asked: float, status: int, body: dict[str, Any]) -> Seen | None:
        """Note what a poll was answered; None if it said nothing about the record."""
        if status not in (200, 202, 404):
            self.rebuffs.append(Rebuff(id, "refused"))
            return None
        result = body.get("output", {}).get("result")
        seen = Seen(
            id,
            asked,
            time.monotonic(),
            "missing" if status == 404 else str(body["status"]),
            digest(body) if status == 200 else "",
            body.get("code", "") if status == 200 else "",
            str(result.get("token", "")) if isinstance(result, dict) else "",
        )
        self.seen.append(seen)
        return seen


def digest(body: dict[str, Any]) -> str:
    """A record as it was told, in short."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:16]


def read_runs(log: Path) -> list[Run]:
    """The runs that the lines of `models.log_line` tell of, in the order of their starts."""
    runs: list[Run] = []
    going_on: dict[tuple[str, str], int] = {}
    for line in log.read_text().splitlines() if log.exists() else []:
        word, token, pid, server, at = line.split()
        if word == "start":
            going_on[token, pid] = len(runs)
            runs.append(Run(token, int(pid), int(server), float(at)))
        else:
            index = going_on.pop((token, pid))
            runs[index] = replace(runs[index], ended=float(at))
    return runs
