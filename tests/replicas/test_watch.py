"""Watching files: a save is noticed however an editor does it, and once."""

import os
import time
from pathlib import Path

import pytest

from zypher.replicas.watch import Watch


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "model.py"
    file.write_text("1")
    os.utime(file, (1_000_000_000, 1_000_000_000))
    return file


@pytest.fixture
def watch(file: Path) -> Watch:
    watch = Watch()
    watch.add([str(file)], time.time())
    assert looks(watch) == []
    return watch


def looks(watch: Watch) -> list[str]:
    """What is told once nothing changes any more."""
    return watch.saved() or watch.saved()


def test_a_save_is_told_once(watch: Watch, file: Path) -> None:
    file.write_text("2")
    assert looks(watch) == [str(file)]
    assert looks(watch) == []


def test_a_file_that_was_put_in_the_place_of_another_is_a_save(watch: Watch, file: Path) -> None:
    other = file.with_suffix(".new")
    other.write_text("2")
    os.utime(other, (1_000_000_000, 1_000_000_000))  # as old and as long as the one before
    other.rename(file)
    assert looks(watch) == [str(file)]


def test_saves_in_quick_succession_are_one(watch: Watch, file: Path) -> None:
    file.write_text("")
    assert watch.saved() == []
    file.write_text("22")
    assert watch.saved() == []
    file.write_text("333")
    assert watch.saved() == []
    assert watch.saved() == [str(file)]


def test_a_file_that_is_missing_for_a_while_is_a_save_when_it_is_back(
    watch: Watch, file: Path
) -> None:
    file.unlink()
    assert looks(watch) == []
    file.write_text("1")
    assert looks(watch) == [str(file)]


def test_a_file_that_did_not_exist_is_a_save_when_it_does(watch: Watch, file: Path) -> None:
    missing = file.with_name("helper.py")
    watch.add([str(missing)], time.time())
    assert looks(watch) == []
    missing.write_text("1")
    assert looks(watch) == [str(missing)]


def test_what_was_saved_while_it_was_loaded_is_loaded_again(file: Path) -> None:
    watch = Watch()
    begun = time.time() - 1
    file.write_text("2")
    watch.add([str(file)], begun)
    assert looks(watch) == [str(file)]


def test_a_file_from_the_future_is_not_loaded_for_ever(file: Path) -> None:
    watch = Watch()
    os.utime(file, (time.time() + 3600,) * 2)
    watch.add([str(file)], time.time())
    assert looks(watch) == []


def test_what_no_code_is_in_any_more_is_not_watched(watch: Watch, file: Path) -> None:
    watch.keep([])
    file.write_text("2")
    assert looks(watch) == []
