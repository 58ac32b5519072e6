"""Whether there is a terminal, whose end ends what was started there."""

import os


def has_terminal() -> bool:
    """True if this process has a controlling terminal, and that is still there."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True
