"""`zypher health`: a container asks it every few seconds, so it needs next to nothing."""

import argparse
import http.client
import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import SplitResult, urlsplit

from zypher.cli.address import DEFAULT, PORT_VARIABLES, VARIABLE, address
from zypher.cli.text import complain, one_line, put_line
from zypher.cli.times import span

# The most that is read of an answer: more is not one of ours.
_SIZE = 1_000_000

# What comes of reading an answer that has not what ours have.
_MISREAD = (ValueError, LookupError, TypeError, AttributeError)


class _Sick(Exception):
    """The server is not as it should be, for this reason."""


def main(arguments: Sequence[str]) -> int:
    """Run the command. The exit code is 0 if the server is ready, else 1."""
    options = _parser().parse_args(arguments)
    try:
        put_line(one_line(_ask(options.url or address(), options.live, options.timeout)))
    except _Sick as error:
        complain(one_line(str(error)))
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="zypher health",
        description="Say whether a server is ready. Exit code: 0 if it is, else 1.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--url",
        metavar="URL",
        help=f"the server; default: {VARIABLE}, else this machine at the port that "
        f"{' or '.join(PORT_VARIABLES)} says, else {DEFAULT}",
    )
    parser.add_argument(
        "--live", action="store_true", help="ask only whether it lives, not whether it is ready"
    )
    parser.add_argument(
        "--timeout",
        metavar="TIME",
        type=span,
        default=5.0,
        help="how long it may take to answer; default: 5s",
    )
    return parser


def _ask(url: str, live: bool, timeout: float) -> str:
    """A sentence on how the server is. Raises `_Sick` if it is not well."""
    try:
        parts = urlsplit(url)
        connection = _connection(parts, timeout)
    except ValueError:
        raise _Sick(f"{url} is no address of a server, as {DEFAULT} is one.") from None
    place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"
    try:
        connection.request("GET", f"{parts.path.rstrip('/')}/{'livez' if live else 'readyz'}")
        response = connection.getresponse()
        is_well, body = response.status == http.client.OK, response.read(_SIZE)
        sentence = (_how_it_is if is_well else _why_not)(json.loads(body))
    except TimeoutError:
        raise _Sick(f"The server at {place} has not answered within {timeout:g} s.") from None
    except OSError as error:
        raise _Sick(f"No server answers at {place}: {error.strerror or error}.") from None
    except (http.client.HTTPException, *_MISREAD):
        raise _Sick(f"What answers at {place} is no Zypher server.") from None
    finally:
        connection.close()
    if not is_well:
        raise _Sick(f"The server at {place} is not ready: {sentence}.")
    return f"The server at {place} {sentence}."


def _connection(parts: SplitResult, timeout: float) -> http.client.HTTPConnection:
    """A connection that is not made yet. Raises ValueError for what is no address."""
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError
    is_secure = parts.scheme == "https"
    kind = http.client.HTTPSConnection if is_secure else http.client.HTTPConnection
    return kind(parts.hostname, parts.port, timeout=timeout)


def _how_it_is(report: dict[str, Any]) -> str:
    if report["status"] == "alive" or report.get("node") == "worker":
        return f"is {report['status']}"
    jobs = report["jobs"]
    sentence = f"is ready: {jobs['queued']} queued, {jobs['processing']} processing"
    if not report["degraded"]:
        return sentence
    return f"{sentence}. Degraded: {'; '.join(one.rstrip('.') for one in report['degraded'])}"


def _why_not(report: dict[str, Any]) -> str:
    """Its status (starting, failing, draining; of a problem, the number), and why if it knows."""
    reasons = report.get("degraded") or [report.get("detail")]
    return ". ".join([str(report["status"]), *(reason.rstrip(".") for reason in reasons if reason)])
