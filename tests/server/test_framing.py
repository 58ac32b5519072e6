"""What has no meaning, or more than one, is refused, and the connection with it."""

from collections.abc import Iterator

import pytest

from tests.harness import Server, target
from tests.server.raw import wire


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    names = "127.0.0.1,api.example"
    with Server(target("echo"), target("nap"), "--allowed-hosts", names) as server:
        yield server


def request(*lines: str, body: str = "") -> bytes:
    return "\r\n".join(["POST /predict HTTP/1.1", *lines, "", body]).encode("latin-1")


HOST = "Host: 127.0.0.1"
JSON = "Content-Type: application/json"
CHUNKED = "Transfer-Encoding: chunked"
INPUT = '{"input":1}'
CHUNKS = f"{len(INPUT):x}\r\n{INPUT}\r\n0\r\n\r\n"

AMBIGUOUS = {
    "both a length and chunks": request(HOST, JSON, "Content-Length: 3", CHUNKED, body=CHUNKS),
    "chunks and a length": request(HOST, JSON, CHUNKED, "Content-Length: 3", body=CHUNKS),
    "the same length twice": request(HOST, "Content-Length: 3", "Content-Length: 3", body="abc"),
    "two lengths": request(HOST, "Content-Length: 3", "Content-Length: 4", body="abcd"),
    "a list of lengths": request(HOST, "Content-Length: 3, 3", body="abc"),
    "a signed length": request(HOST, "Content-Length: +3", body="abc"),
    "a length that overflows": request(HOST, f"Content-Length: {2**64 + 3}", body="abc"),
    "a space before the colon": request(HOST, "Content-Length : 3", body="abc"),
    "a folded line": request(HOST, "X-Folded: a", " b", "Content-Length: 0"),
    "a folded coding": request(HOST, "Transfer-Encoding:", " chunked", body=CHUNKS),
    "lines that end in LF": request(HOST, JSON).replace(b"\r\n", b"\n"),
    "a line that ends in CR": request(HOST, "X: a\rTransfer-Encoding: chunked", body=CHUNKS),
    "a coding beside chunked": request(HOST, JSON, "Transfer-Encoding: identity, chunked"),
    "another coding": request(HOST, JSON, "Transfer-Encoding: gzip, chunked", body=CHUNKS),
    "chunked as one of two": request(HOST, CHUNKED, "Transfer-Encoding: identity", body=CHUNKS),
    "chunked twice": request(HOST, CHUNKED, CHUNKED, body=CHUNKS),
    "almost chunked": request(HOST, "Transfer-Encoding: xchunked", body=CHUNKS),
    "chunked with a control": request(HOST, "Transfer-Encoding: \x0bchunked", body=CHUNKS),
    "chunks in HTTP/1.0": request(HOST, JSON, CHUNKED, body=CHUNKS).replace(b"/1.1", b"/1.0", 1),
    "no host": request(JSON, "Content-Length: 0"),
    "two hosts": request(HOST, HOST, "Content-Length: 0"),
    "a NUL in a value": request("Host: 127.0.0.1\0", "Content-Length: 0"),
    "a NUL in a name": request("Ho\0st: 127.0.0.1", "Content-Length: 0"),
    "HTTP/0.9": b"GET /livez\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a tunnel": b"CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: 127.0.0.1:1\r\n\r\n",
    "a target with a user": b"GET http://127.0.0.1@evil/livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}


@pytest.mark.parametrize("sent", AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_what_has_more_than_one_meaning_is_refused_and_nothing_after_it_is_read(
    server: Server, sent: bytes
) -> None:
    with wire(server.url) as client:
        client.send(sent + client.head("/livez"))
        answer = client.answer()
        assert (answer.status, answer.code) == (400, "malformed_request")
        assert answer.headers["connection"] == "close"
        assert client.is_closed()


BAD_CHUNKS = {
    "LF after the size": f"{len(INPUT):x}\n{INPUT}\r\n0\r\n\r\n",
    "LF in an extension": f"{len(INPUT):x};a\n{INPUT}\r\n0\r\n\r\n",
    "a space after the size": f"{len(INPUT):x} \r\n{INPUT}\r\n0\r\n\r\n",
    "a size in C": f"0x{len(INPUT):x}\r\n{INPUT}\r\n0\r\n\r\n",
    "a size that overflows": f"{2**64 + 3:x}\r\n{INPUT}\r\n0\r\n\r\n",
    "more than the size": f"{len(INPUT) - 1:x}\r\n{INPUT}\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("chunks", BAD_CHUNKS.values(), ids=BAD_CHUNKS)
def test_a_body_that_cannot_be_delimited_is_no_prediction(server: Server, chunks: str) -> None:
    with wire(server.url) as client:
        client.send(request(HOST, JSON, CHUNKED, body=chunks) + client.head("/livez"))
        answer = client.answer()
        assert (answer.status, answer.code) == (400, "malformed_request")
        assert client.is_closed()


def test_chunk_extensions_and_trailers_are_passed_over(server: Server) -> None:
    chunks = f"{len(INPUT):x};a=b\r\n{INPUT}\r\n0\r\nHost: evil.example\r\nPrefer: wait=0\r\n\r\n"
    with wire(server.url) as client:
        client.send(request(HOST, JSON, CHUNKED, body=chunks))
        assert client.answer().body == b'{"input":1,"result":1}'
        client.ask()
        assert client.answer().status == 200


def test_trailers_without_end_are_refused(server: Server) -> None:
    chunks = f"{len(INPUT):x}\r\n{INPUT}\r\n0\r\n" + "X: a\r\n" * 20_000
    with wire(server.url) as client:
        client.send(request(HOST, JSON, CHUNKED, body=chunks))
        answer = client.answer()
        assert (answer.status, answer.code) == (431, "header_too_large")
        assert client.is_closed()


def test_what_is_refused_behind_others_leaves_their_answers_in_order(server: Server) -> None:
    with wire(server.url) as client:
        client.post(0.2, "/models/nap/predict")
        client.ask("/models/echo")
        client.send(AMBIGUOUS["two lengths"])
        assert client.answer().body == b'{"input":0.2,"result":0.2}'
        assert b"echo" in client.answer().body
        assert client.is_closed()


def test_a_request_that_asks_for_another_protocol_is_the_last_one(server: Server) -> None:
    with wire(server.url) as client:
        client.ask("/livez", "Connection: Upgrade", "Upgrade: h2c")
        client.ask("/stats")
        answer = client.answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert client.is_closed()


@pytest.mark.parametrize(
    ("target", "host", "status"),
    [
        ("http://127.0.0.1/livez", "127.0.0.1", 200),
        ("HTTP://127.0.0.1:80/livez?x=1", "evil.example", 200),
        ("http://API.example/livez", "api.example:80", 200),
        ("http://evil.example/livez", "127.0.0.1", 403),
        ("http://evil.example", "127.0.0.1", 403),
        ("/livez", "127.0.0.1.", 200),
        ("/livez", "API.EXAMPLE.:8080", 200),
        ("/livez", "127.0.0.1:8080@evil.example", 403),
        ("/livez", "user@127.0.0.1", 403),
        ("/livez", "127.0.0.1:evil.example", 403),
        ("/livez", "127.0.0.1:80:80", 403),
        ("/livez", "[127.0.0.1]", 403),
        ("/livez", "[::1", 403),
        ("/livez", "", 403),
        ("/docs/swagger-ui.css", "evil.example", 403),
        ("/docs", "evil.example", 403),
        ("/ui/main.js", "evil.example", 403),
        ("/openapi.json", "evil.example", 403),
        ("/nothing", "evil.example", 403),
    ],
)
def test_the_name_that_a_request_is_for_is_where_its_target_or_else_its_host_says(
    server: Server, target: str, host: str, status: int
) -> None:
    with wire(server.url) as client:
        client.send(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert client.answer().status == status


def test_http_1_0_without_a_host_is_for_no_name(server: Server) -> None:
    with wire(server.url) as client:
        client.send(b"GET /livez HTTP/1.0\r\n\r\n")
        assert client.answer().status == 403
        assert client.is_closed()
