"""`zypher` and `python -m zypher`: the command line."""

import signal

from zypher.terminal import has_terminal


def main() -> None:
    """Run it. Ctrl-C while it still loads ends it without a word; then `cli` decides."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if not has_terminal():  # SIGHUP asks for new code then, and what loads now is new
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    from zypher import cli

    cli.main()


if __name__ == "__main__":
    main()
