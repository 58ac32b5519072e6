"""`zypher` and `python -m zypher`: the command line."""

import signal


def main() -> None:
    """Run it. Ctrl-C while it still loads ends it without a word; then `cli` decides."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from zypher import cli

    cli.main()


if __name__ == "__main__":
    main()
