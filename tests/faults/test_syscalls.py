"""The faults of calls are real ones, and hit what they were meant for."""

import errno
import os
import signal
import threading
from pathlib import Path

import pytest

from tests.faults.scribe import Scribe
from tests.faults.syscalls import Call, Supervisor
from tests.harness import PATIENCE, Server

SYNCS = ["fsync", "fdatasync"]
WRITES = ["write", "pwrite64"]


def scribe(faults: Supervisor, path: Path, kind: str = "plain") -> Scribe:
    return Scribe(kind, path, prefix=faults.prefix, pass_fds=faults.pass_fds)


def test_a_sync_of_the_chosen_file_fails_and_that_of_another_does_not(tmp_path: Path) -> None:
    bad, good = tmp_path / "bad", tmp_path / "good"
    with (
        Supervisor(SYNCS, lambda call: errno.EIO if call.path == bad else 0) as faults,
        scribe(faults, bad) as unlucky,
        scribe(faults, good) as lucky,
    ):
        assert unlucky.keep("a") == "EIO"
        assert lucky.keep("a") == "kept"


def test_one_call_among_many_can_be_chosen(tmp_path: Path) -> None:
    errors = iter([0, errno.EIO])
    with (
        Supervisor(SYNCS, lambda call: next(errors, 0)) as faults,
        scribe(faults, tmp_path / "file") as process,
    ):
        assert [process.keep(line) for line in "abc"] == ["kept", "EIO", "kept"]


def test_a_call_that_fails_has_done_nothing(tmp_path: Path) -> None:
    file = tmp_path / "file"
    errors = iter([0, errno.ENOSPC])

    def second_fails(call: Call) -> int:
        return next(errors, 0) if call.path == file else 0

    with Supervisor(["write"], second_fails) as faults, scribe(faults, file) as process:
        assert [process.keep(line) for line in "abc"] == ["kept", "ENOSPC", "kept"]
    assert file.read_text() == "a\nc\n"


@pytest.mark.parametrize(
    ("names", "error", "message"),
    [(WRITES, errno.ENOSPC, "database or disk is full"), (SYNCS, errno.EIO, "disk I/O error")],
)
def test_sqlite_says_what_has_happened_and_goes_on_when_it_is_over(
    tmp_path: Path, names: list[str], error: int, message: str
) -> None:
    database = tmp_path / "database"
    broken = threading.Event()

    def breaks(call: Call) -> int:
        return error if broken.is_set() and call.path == database else 0

    with Supervisor(names, breaks) as faults, scribe(faults, database, "sqlite") as process:
        assert process.keep("a") == "kept"
        broken.set()
        assert process.keep("b") == message
        broken.clear()
        assert process.keep("c") == "kept"


def test_the_files_can_be_copied_while_their_writer_stands_still_before_a_sync(
    tmp_path: Path,
) -> None:
    copies: list[str] = []

    def copy(call: Call) -> int:
        copies.append(call.path.read_text())
        return 0

    with Supervisor(SYNCS, copy) as faults, scribe(faults, tmp_path / "file") as process:
        process.communicate("a\nb\nc\n", timeout=PATIENCE)
    assert copies == ["a\n", "a\nb\n", "a\nb\nc\n"]


def test_a_process_can_be_killed_in_the_middle_of_a_call_and_its_successor_is_served(
    tmp_path: Path,
) -> None:
    errors = iter([0, errno.EIO])

    def kill_the_first(call: Call) -> int:
        error = next(errors)
        if not error:
            os.kill(call.thread, signal.SIGKILL)
        return error

    with Supervisor(SYNCS, kill_the_first) as faults:
        with scribe(faults, tmp_path / "file") as first:
            assert first.keep("a") == ""
        assert first.returncode == -signal.SIGKILL
        with scribe(faults, tmp_path / "file") as second:
            assert second.keep("b") == "EIO"


def test_an_error_of_the_policy_is_raised_at_the_end_and_hangs_nobody(tmp_path: Path) -> None:
    def fails(call: Call) -> int:
        raise AssertionError(f"{call.name} was not expected")

    faults = Supervisor(SYNCS, fails)
    with scribe(faults, tmp_path / "file") as process:
        assert process.keep("a") == "kept"
    with pytest.raises(AssertionError, match="fsync was not expected"):
        faults.close()


def test_a_whole_server_with_its_replicas_runs_under_it(tmp_path: Path) -> None:
    bad, good = tmp_path / "bad", tmp_path / "good"
    model = tmp_path / "model.py"
    model.write_text(
        "import os\ndef save(path: str) -> None:\n    with open(path, 'w') as file:\n"
        "        os.fsync(file.fileno())\n"
    )

    def breaks(call: Call) -> int:
        return errno.EIO if call.name == "fsync" and call.path == bad else 0

    with (
        Supervisor([*SYNCS, *WRITES, "writev"], breaks) as faults,
        Server(
            f"{model}:save",
            *("--replicas", "2", "--broker", "memory:"),
            prefix=faults.prefix,
            pass_fds=faults.pass_fds,
        ) as server,
    ):
        assert len(server.replicas()) == 2
        assert server.predict(str(good)).status_code == 200
        assert server.poll(server.submit(str(good)), wait=10).json()["status"] == "completed"
        assert "Input/output error" in server.predict(str(bad)).json()["detail"]
        assert server.stop() == 0
