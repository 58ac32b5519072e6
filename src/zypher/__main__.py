"""`zypher` and `python -m zypher`: the command line."""

import signal
import sys


def main() -> None:
    """Run it. Ctrl-C while it still loads ends it without a word; then the command decides."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.argv[1:2] == ["health"]:
        from zypher.cli import health

        sys.exit(health.main(sys.argv[2:]))
    from zypher.cli import app

    app.main()


if __name__ == "__main__":
    main()
