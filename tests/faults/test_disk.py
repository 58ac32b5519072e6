"""A small disk is a real one: it gets full, and has room again."""

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.disk import Disk, small_disk
from tests.faults.scribe import Scribe
from tests.faults.syscalls import Supervisor
from tests.harness import Server


@pytest.fixture
def disk() -> Iterator[Disk]:
    with small_disk(megabytes=2) as disk:
        yield disk


def test_a_full_disk_refuses_a_commit_and_takes_the_next_once_it_has_room(disk: Disk) -> None:
    with Scribe("sqlite", disk.path / "database", prefix=disk.prefix) as process:
        assert process.keep("a") == "kept"
        disk.fill()
        assert process.keep("b") == "database or disk is full"
        disk.free()
        assert process.keep("c") == "kept"


def test_what_is_on_the_disk_outlives_the_process_that_wrote_it(disk: Disk) -> None:
    for line in "ab":
        with Scribe("plain", disk.path / "file", prefix=disk.prefix) as process:
            assert process.keep(line) == "kept"
    assert (disk.outside / "file").read_text() == "a\nb\n"


def test_calls_on_the_disk_fail_by_the_paths_that_its_processes_see(disk: Disk) -> None:
    bad, good = disk.path / "bad", disk.path / "good"
    with Supervisor(["fsync"], lambda call: errno.EIO if call.path == bad else 0) as faults:
        prefix = [*disk.prefix, *faults.prefix]
        for path, answer in [(bad, "EIO"), (good, "kept")]:
            with Scribe("plain", path, prefix=prefix, pass_fds=faults.pass_fds) as process:
                assert process.keep("a") == answer


def test_a_server_on_the_disk_keeps_its_pid_and_its_working_directory(
    disk: Disk, tmp_path: Path
) -> None:
    (tmp_path / "model.py").write_text(
        "import os\ndef where(disk: str) -> list[str]:\n"
        "    return [os.getcwd(), str(os.statvfs(disk).f_blocks * os.statvfs(disk).f_frsize)]\n"
    )
    with Server("model.py:where", cwd=tmp_path, prefix=disk.prefix) as server:
        assert server.predict(str(disk.path)).json()["result"] == [str(tmp_path), str(2 << 20)]
        assert len(server.replicas()) == 1
        assert server.stop() == 0
