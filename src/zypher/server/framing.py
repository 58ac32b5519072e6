"""What a head must be so that all who read the same bytes understand the same."""

import httptools

from zypher.errors import MalformedRequest
from zypher.server.writing import Field


def require_one_meaning(version: str, target: bytes, fields: list[Field]) -> bytes:
    """The path of a target, once nothing in the head could be understood in another way.

    The parser itself refuses what is wrong in the framing of a message (RFC 9112 §11.2). A host in
    the target takes the place of that in the fields. Raises `MalformedRequest`.
    """
    if version not in ("1.1", "1.0"):
        raise MalformedRequest("This server speaks HTTP/1.1 alone.")
    hosts = 0
    for name, value in fields:
        if name == b"host":
            hosts += 1
        elif name == b"transfer-encoding" and (value.lower() != b"chunked" or version == "1.0"):
            raise MalformedRequest("Transfer-Encoding can be chunked alone, in HTTP/1.1.")
    if hosts > 1 or (not hosts and version == "1.1"):
        raise MalformedRequest("A request names one Host.")  # RFC 9112 §3.2
    if target.startswith(b"/") or target == b"*":
        return target
    return _take_host(target, fields)


def _take_host(target: bytes, fields: list[Field]) -> bytes:
    """`GET http://HOST/PATH` is for that host, whatever `Host` says (RFC 9112 §3.2.2)."""
    url = httptools.parse_url(target)
    if not url.host or url.userinfo:
        raise MalformedRequest("The request's target is no path.")
    host = b"[%b]" % url.host if b":" in url.host else url.host
    named = [(b"host", b"%b:%d" % (host, url.port) if url.port else host)]
    fields[:] = named + [field for field in fields if field[0] != b"host"]
    return (url.path or b"/") + (b"?" + url.query if url.query else b"")
