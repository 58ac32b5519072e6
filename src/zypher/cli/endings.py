"""The exit codes, which a script can rely on."""

from enum import IntEnum

from zypher.errors import ZypherError


class Ending(IntEnum):
    """How a command ends."""

    DONE = 0
    MISTAKE = 1
    USAGE = 2
    FAILED = 3
    AWAY = 4
    UNKNOWN = 5
    UNFINISHED = 6
    INTERRUPTED = 130


EPILOG = (
    "Exit codes: 0 done; 1 a mistake or a refusal, which one sentence explains; 2 wrong usage; "
    "3 the prediction failed or was canceled; 4 no server, or one that cannot take it now; "
    "5 no such prediction or model; 6 not finished within --timeout; 130 Ctrl-C."
)


def exit_code(error: ZypherError) -> Ending:
    """The code that a command ends with which fails of this."""
    return Ending.MISTAKE
