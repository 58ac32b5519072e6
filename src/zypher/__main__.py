"""`zypher` and `python -m zypher`: the command line."""

import gc
import signal
import sys

from zypher.terminal import has_terminal


def main() -> None:
    """Run it. Ctrl-C while it still loads ends it without a word; then the command decides."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    command = sys.argv[1:2]
    if command in (["serve"], ["worker"]):
        gc.disable()  # until it has loaded: it would look through that again and again
        if not has_terminal():
            # SIGHUP asks for new code then, and what loads now is new.
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
    if command == ["health"]:
        from zypher.cli import health

        sys.exit(health.main(sys.argv[2:]))
    from zypher.cli import app

    app.main()


if __name__ == "__main__":
    main()
