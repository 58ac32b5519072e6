"""The files of a queue, as they lie on the disk."""

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

DATABASE = "zypher.db"
LOG = "zypher.db-wal"
FILES = (DATABASE, LOG)


def damage(database: Path) -> Iterator[str]:
    """What SQLite finds wrong in a database that nobody has open; looks into a copy of it."""
    with tempfile.TemporaryDirectory() as directory:
        for name in FILES:
            if (part := database.with_name(name)).exists():
                shutil.copyfile(part, Path(directory, name))
        with closing(sqlite3.connect(Path(directory, DATABASE))) as connection:
            ((finding,),) = connection.execute("PRAGMA integrity_check(1)")
    if finding != "ok":
        yield f"The file is damaged: {finding}"
