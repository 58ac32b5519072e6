"""What comes before a queue's file is used: it is made, looked into, or brought up to date."""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

from zypher.errors import ConfigurationError

# "ZYPH": marks the file as ours.
_APPLICATION_ID = 0x5A595048

# STRICT tables are the newest thing that is needed.
_NEEDED = (3, 37)

# A check of a larger file would hold up the start for longer than it is worth.
_CHECKED_BYTES = 1_000_000_000

# SQLite's names for it; the last one is of a statement that does not fit the schema.
_DAMAGE = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_ERROR")


class Damaged(Exception):
    """The file is not what was written to it; the message says in what way."""


def prepare(path: Path) -> None:
    """See to it that there is a queue's file, and nothing wrong with it.

    Raises `ConfigurationError` or `Damaged`.
    """
    _require_version()
    if _is_new(path):
        make(path)
    inspect(path)


Script = tuple[int, str]


def schema() -> list[Script]:
    """The scripts that make the schema, each with the version that it leads to."""
    directory = resources.files(__package__).joinpath("schema")
    scripts = [script for script in directory.iterdir() if script.name.endswith(".sql")]
    return sorted((int(script.name.removesuffix(".sql")), script.read_text()) for script in scripts)


def _is_new(path: Path) -> bool:
    """True for an empty file. Raises `Damaged` if it was not always empty."""
    log = path.with_name(path.name + "-wal")
    if path.stat().st_size:
        return False
    if log.exists() and log.stat().st_size:
        raise Damaged("it is empty, although its write-ahead log is not")
    return True


def make(path: Path) -> None:
    """Make a new, empty queue, which appears at `path` once it is complete."""
    unfinished = path.with_name(path.name + ".unfinished")
    for end in ("", "-journal"):
        unfinished.with_name(unfinished.name + end).unlink(missing_ok=True)
    os.close(os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    with closing(sqlite3.connect(unfinished, isolation_level=None)) as connection:
        migrate(connection, schema())
    unfinished.rename(path)
    sync_directory(path.parent)


def inspect(path: Path) -> None:
    """See whether a file is a queue, and whole, without a change to it.

    Raises `ConfigurationError` for one of another program or from the future, and `Damaged`.
    """
    has_log = path.with_name(path.name + "-wal").exists()
    with looking_into(path) as connection:
        if value(connection, "PRAGMA application_id") != _APPLICATION_ID:
            raise ConfigurationError(
                f"{path} is the database of another program. "
                "Give the queue a file of its own: --broker sqlite:///OTHER.db"
            )
        found, newest = value(connection, "PRAGMA user_version"), schema()[-1][0]
        if found > newest:
            raise ConfigurationError(
                f"{path} was made by a newer version of Zypher: its schema is {found}, this "
                f"version knows {newest}. Use the newer one, or another file: "
                "--broker sqlite:///OTHER.db"
            )
        if not value(connection, "SELECT clean FROM file"):
            if path.stat().st_size <= _CHECKED_BYTES:
                finding = value(connection, "PRAGMA quick_check(1)")
                if finding != "ok":
                    raise Damaged(str(finding).rpartition("\n")[2])
            if not has_log:
                raise Damaged("its write-ahead log is missing, and with it what was written last")


@contextmanager
def looking_into(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that leaves the file and its log as they are."""
    log, index = (path.with_name(path.name + end) for end in ("-wal", "-shm"))
    # Read-only: another connection would write the log back when it is closed. And without a
    # log immutable, or it would make an empty one.
    uri = f"{path.as_uri()}?mode=ro" + "&immutable=1" * (not log.exists())
    try:
        with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
            yield connection
    finally:
        index.unlink(missing_ok=True)  # of the log, made by this connection


def migrate(connection: sqlite3.Connection, scripts: Sequence[Script]) -> None:
    """Make the schema in a new file, or bring an older one up to date."""
    found = value(connection, "PRAGMA user_version")
    if not found:  # these two are decided with the first page
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
    for version, script in scripts:
        if version > found:
            connection.executescript(f"BEGIN;{script};PRAGMA user_version = {version};COMMIT;")


def is_damage(error: BaseException) -> bool:
    """True if an error says that the file is broken, and not the disk under it."""
    name = getattr(error, "sqlite_errorname", "")
    return isinstance(error, Damaged | UnicodeDecodeError) or name.startswith(_DAMAGE)


@contextmanager
def damage_told() -> Iterator[None]:
    """Have what SQLite says of a broken file raised as `Damaged`."""
    try:
        yield
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        if is_damage(error):
            raise Damaged(str(error)) from error
        raise


def sync_directory(directory: Path) -> None:
    """Make it last that files were given new names in a directory."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def value(connection: sqlite3.Connection, query: str) -> Any:
    """The first value of what a query finds."""
    return connection.execute(query).fetchone()[0]


def _require_version() -> None:
    if sqlite3.sqlite_version_info < _NEEDED:
        raise ConfigurationError(
            f"The sqlite broker needs SQLite 3.37, and this Python has {sqlite3.sqlite_version}. "
            "Use another Python (`uv python install`), or --broker memory:"
        )
