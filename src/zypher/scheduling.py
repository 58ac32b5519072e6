"""How the kernel shares its processors out among our processes (Linux: sched(7))."""

import os
import sys
from contextlib import suppress


def give_way() -> None:
    """From now on, this thread and those that it starts never interrupt another by waking up.

    A replica that sends its outcomes wakes the server: in the middle of its work it would lose its
    processor to it, and get it back once all callers are answered.
    """
    _change("SCHED_OTHER", "SCHED_BATCH")


def give_way_no_more() -> None:
    """This process, which was started by one that gives way, is treated as any other again."""
    _change("SCHED_BATCH", "SCHED_OTHER")


def _change(before: str, after: str) -> None:
    if sys.platform == "linux":
        with suppress(OSError):  # a sandbox may forbid it
            if os.sched_getscheduler(0) == getattr(os, before):  # else somebody chose another
                os.sched_setscheduler(0, getattr(os, after), os.sched_param(0))
