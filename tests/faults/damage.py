"""Files that are damaged while no server has them open."""

import json
import random
import re
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx2

from tests.faults.clients import client_of
from tests.faults.files import DATABASE, FILES, LOG
from tests.faults.history import digest
from tests.faults.report import Report, Size
from tests.faults.rig import Rig
from tests.harness import ASYNC, gather_posts
from zypher.prediction import new_id

_PAGE = 4096
_COUNTS = re.compile(r"saved: (?P<saved>\d+);.* unknown now: (?:at most )?(?P<unknown>\d+|it)")


def overwrite_a_page(directory: Path) -> None:
    """A page is noise, one that the log has no newer version of."""
    renewed = _pages_in(directory / LOG)
    with (directory / DATABASE).open("r+b") as file:
        pages = range(2, file.seek(0, 2) // _PAGE + 1)
        victim = random.choice([page for page in pages if page not in renewed])
        file.seek(_PAGE * (victim - 1))
        file.write(random.randbytes(_PAGE))


def _pages_in(log: Path) -> set[int]:
    """The pages that a write-ahead log has (https://sqlite.org/fileformat2.html, 4.1)."""
    frames = log.read_bytes()[32:]
    return {int.from_bytes(frames[at : at + 4]) for at in range(0, len(frames), 24 + _PAGE)}


def truncate(directory: Path) -> None:
    """The second half of the file is gone."""
    database = directory / DATABASE
    with database.open("r+b") as file:
        file.truncate(database.stat().st_size // 2)


def remove_the_log(directory: Path) -> None:
    """The write-ahead log is gone."""
    (directory / LOG).unlink()


_DAMAGES = (overwrite_a_page, truncate, remove_the_log)


async def damaged_files(size: Size, directory: Path) -> Report:
    """The file of a killed server is damaged in several ways, and what is in it salvaged."""
    reports = []
    for number in range(size.of(1, 5)):
        for damage in _DAMAGES:
            place = directory / f"{damage.__name__}-{number}"
            place.mkdir()
            async with Rig(place, "work") as rig:
                reports.append(await _damaged(rig, damage))
    return Report(
        "the file is damaged",
        accepted=sum(report.accepted for report in reports),
        lost=sum(report.lost for report in reports),
        visible_twice=sum(report.visible_twice for report in reports),
        violations=[sentence for report in reports for sentence in report.violations],
        remarks="what is lost was in the damaged part, and is counted in the log and in /readyz",
    )


async def _damaged(rig: Rig, damage: Callable[[Path], None]) -> Report:
    """Damage the file of one server: it serves on without it, then with what can be saved."""
    ids = await _fill(rig)
    await rig.kill()
    damage(rig.directory)
    damaged = _contents(rig.directory)

    await rig.start()
    wrong = [sentence async for sentence in _wrong_degraded(rig, ids)]
    await rig.kill()
    if _contents(rig.directory) != damaged:
        wrong.append("A damaged file was changed.")

    await rig.start("--on-corrupt", "salvage")
    known = await _known(rig, ids)
    wrong += [sentence async for sentence in _wrong_salvaged(rig, len(ids), len(known))]
    wrong += (changed := list(_wrong_records(rig, known)))
    if not set(damaged.values()) <= set(_contents(rig.directory).values()):
        wrong.append("A damaged file was not kept.")
    return Report(
        damage.__name__,
        accepted=len(ids),
        lost=len(ids) - len(known),
        visible_twice=len(changed),
        violations=[f"{damage.__name__}: {sentence}" for sentence in wrong],
    )


async def _fill(rig: Rig) -> list[str]:
    """Have predictions that ended in the file, and ones that have not in its log; their ids."""
    async with rig.load() as load:
        await load.accepts(100)
    await rig.stop()  # which writes the log back into the file
    await rig.start()
    work: list[object] = [rig.work(new_id(), seconds=60) for _ in range(20)]
    accepted = await gather_posts(rig.url, work, Async_Mode="true")
    return [*rig.history.accepted, *(answer.json()["prediction_id"] for answer in accepted)]


def _contents(directory: Path) -> dict[str, bytes]:
    """What the queue has written, and what was set aside."""
    names = [*FILES, f"{DATABASE}.corrupt-*"]
    files = [file for name in names for file in directory.glob(name)]
    return {file.name: file.read_bytes() for file in files}


async def _wrong_degraded(rig: Rig, ids: list[str]) -> AsyncIterator[str]:
    """What is wrong with a server that found its file damaged, and was not told what to do."""
    async with client_of(rig.url) as client:
        body = {"input": rig.work(new_id())}
        ready = await client.get("/readyz")
        if ready.status_code != 200 or "damaged" not in str(ready.json()["degraded"]):
            yield f"/readyz does not tell of the damage: {ready.text}"
        if not await _is_served(client, body):
            yield "A synchronous prediction was not served."
        if (await client.post("/predict", json=body, headers=ASYNC)).status_code != 503:
            yield "A submit was not refused."
        if (await client.get(f"/predict/{ids[0]}")).status_code != 503:
            yield "It was told of an id that nobody can look up what has become of it."


async def _is_served(client: httpx2.AsyncClient, body: object) -> bool:
    try:
        return (await client.post("/predict", json=body)).status_code == 200
    except httpx2.TimeoutException:
        return False


async def _known(rig: Rig, ids: list[str]) -> dict[str, str]:
    """What the server answers to those of the ids that it knows."""
    async with client_of(rig.url) as client:
        answers = {id: await client.get(f"/predict/{id}") for id in ids}
    return {id: answer.text for id, answer in answers.items() if answer.status_code != 404}


def _wrong_records(rig: Rig, known: dict[str, str]) -> Iterator[str]:
    """What is not as it was before the file was damaged."""
    before = {seen.id: seen.outcome for seen in rig.history.seen if seen.final}
    for id, text in known.items():
        try:
            body = json.loads(text)
        except ValueError:
            yield f"{id} was saved with a content that is no JSON: {text!r}"
        else:
            if id in before and digest(body) != before[id]:
                yield f"{id} was saved with another end: {text}"


async def _wrong_salvaged(rig: Rig, accepted: int, known: int) -> AsyncIterator[str]:
    """What is wrong with a server that has saved what it could."""
    async with client_of(rig.url) as client:
        told = " ".join((await client.get("/readyz")).json()["degraded"])
        submit = await client.post("/predict", json={"input": rig.work(new_id())}, headers=ASYNC)
        if submit.status_code != 202:
            yield f"After the salvage a submit was answered {submit.status_code}."
    if told not in "".join(rig.running.lines):
        yield "The log does not tell what was saved."
    counts = _COUNTS.search(told)
    if counts is None:
        yield f"/readyz does not tell what was saved: {told}"
    elif int(counts["saved"]) != known:
        yield f"{known} are known, and it was told: {told}"
    elif counts["unknown"].isdigit() and known + int(counts["unknown"]) < accepted:
        yield f"{known} of {accepted} are known, and it was told: {told}"
