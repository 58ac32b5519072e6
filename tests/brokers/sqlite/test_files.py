"""Where a queue may lie."""

import asyncio
import os
import stat
from contextlib import closing
from pathlib import Path

import pytest

from zypher.brokers import Limits, open_broker
from zypher.brokers.sqlite.backup import back_up
from zypher.brokers.sqlite.files import Lock, create, path_of, require_place
from zypher.errors import ConfigurationError
from zypher.testing.clock import ManualClock

MOUNTS = """\
/dev/vda / ext4 rw 0 0
server:/export /mnt/share nfs4 rw 0 0
/dev/vdb /mnt/share/local xfs rw 0 0
host /mnt/with\\040space virtiofs rw 0 0
"""


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///zypher.db", Path.cwd() / "zypher.db"),
        ("sqlite:///data/zypher.db", Path.cwd() / "data" / "zypher.db"),
        ("sqlite:////var/lib/zypher.db", Path("/var/lib/zypher.db")),
        ("sqlite:////var/my%20lib/z.db", Path("/var/my lib/z.db")),
        ("sqlite:////var/my%23queue%3F.db", Path("/var/my#queue?.db")),
    ],
)
def test_three_slashes_are_a_relative_path_and_four_an_absolute_one(url: str, path: Path) -> None:
    assert path_of(url) == path


@pytest.mark.parametrize(
    "url",
    [
        *("sqlite:", "sqlite://", "sqlite:///", "sqlite://zypher.db", "sqlite:///:memory:"),
        *("sqlite:///x.db?mode=ro", "sqlite:///directory/", "sqlite:///my#queue.db"),
        *("sqlite:///x.db#", "sqlite:///a%00b.db", "sqlite://[x", "postgres:///x.db", "x.db"),
    ],
)
def test_a_url_that_names_no_file_is_told_how_to(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"write sqlite:///zypher\.db"):
        path_of(url)


@pytest.mark.parametrize("url", ["sqlite://[x", "sqlite", "postgres://[x", ""])
def test_a_broker_that_there_is_not_is_a_wrong_setting(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"The broker|There is no broker"):
        open_broker(url, Limits(), ManualClock())


@pytest.mark.parametrize(
    ("directory", "kind"), [("/mnt/share", "nfs4"), ("/mnt/with space", "virtiofs")]
)
def test_a_network_file_system_is_refused_by_its_name(
    directory: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "is_dir", lambda _: True)
    with pytest.raises(ConfigurationError, match=rf"network file system \({kind}\)"):
        require_place(Path(directory) / "zypher.db", MOUNTS)


def test_a_local_disk_is_taken_also_below_a_network_file_system(tmp_path: Path) -> None:
    mounts = f"server:/x {tmp_path} nfs4 rw 0 0\n/dev/vdb {tmp_path}/local ext4 rw 0 0\n"
    (tmp_path / "local").mkdir()
    require_place(tmp_path / "local" / "zypher.db", mounts)
    with pytest.raises(ConfigurationError, match="nfs4"):
        require_place(tmp_path / "zypher.db", mounts)


def test_a_directory_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no directory .*/nowhere"):
        require_place(tmp_path / "nowhere" / "zypher.db")


def test_a_path_that_cannot_be_opened_says_why(tmp_path: Path) -> None:
    (tmp_path / "zypher.db").mkdir()
    with pytest.raises(ConfigurationError, match="cannot be opened: Is a directory"):
        create(tmp_path / "zypher.db")


def test_a_link_stands_for_the_file_that_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link.db").symlink_to(tmp_path / "disk" / "real.db")
    assert path_of(f"sqlite:///{tmp_path}/link.db") == (tmp_path / "disk" / "real.db").resolve()


def modes_in(directory: Path) -> dict[str, int]:
    return {file.name: stat.S_IMODE(file.stat().st_mode) for file in directory.iterdir()}


@pytest.mark.anyio
async def test_all_files_of_a_queue_are_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "zypher.db"
    before = os.umask(0)
    try:
        broker = open_broker(f"sqlite:///{path}", Limits(), ManualClock())
        await broker.start()
        await asyncio.to_thread(back_up, path, tmp_path / "copy.db")
        files = modes_in(tmp_path)
        await broker.aclose()
        path.write_bytes(path.read_bytes()[:5000])
        broker = open_broker(f"sqlite:///{path}", Limits(), ManualClock(), salvage_damaged=True)
        await broker.start()
        files |= modes_in(tmp_path)
        await broker.aclose()
    finally:
        os.umask(before)
    assert {name: mode for name, mode in files.items() if mode != 0o600} == {}
    assert {"zypher.db", "zypher.db-wal", "zypher.db.lock", "zypher.db.sock", "copy.db"} <= {*files}
    assert any("corrupt" in name for name in files)


def test_a_lock_that_others_could_take_is_made_its_owners_alone(tmp_path: Path) -> None:
    """As an older version left it: who can open a file for reading can lock it for ever."""
    lock = tmp_path / "zypher.db.lock"
    lock.touch(0o644)
    with closing(Lock(tmp_path / "zypher.db")):
        assert stat.S_IMODE(lock.stat().st_mode) == 0o600
