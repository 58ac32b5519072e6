"""Inputs that nobody sends by mistake. Each kind is a function of a source of randomness; what it
returns is what one connection sends."""

import json
import random
from collections.abc import Callable, Sequence

Generator = Callable[[random.Random], bytes]

HOST = "127.0.0.1"
MODELS = ("echo", "Sentiment", "distance", "fails")

_METHODS = (
    "GET",
    "POST",
    "DELETE",
    "PUT",
    "HEAD",
    "OPTIONS",
    "PATCH",
    "TRACE",
    "QUERY",
    "M-SEARCH",
)
_FIXED = (
    *(
        "/",
        "/livez",
        "/readyz",
        "/stats",
        "/models",
        "/openapi.json",
        "/docs",
        "/ui",
        "/ui/main.js",
    ),
    *(
        "/predictions",
        "/favicon.ico",
        "/events",
        "/docs/start.js",
        "/predict",
        "/predictions/predict",
    ),
)
_TRAVERSALS = (
    *("..", ".", "%2e%2e", "..%2f..%2f", "%00", "%", "%zz", "//", "\\", "%5c..", "~", "*", ";a=b"),
    *("etc/passwd", "%c0%ae%c0%ae", "a" * 300, "%F0%9F%92%A9", "%ff%fe", "{id}", "null", "-1"),
)
_WORDS = (
    *("", " ", "\t", "0", "-1", "1e309", "NaN", "inf", "9" * 400, "null", "true", "a" * 5000),
    *("\x7f", "é", "💩", "\ud800", '"', "'", "\\", ",", ";", "=", "q=", "*/*", "text/event-stream"),
    *("application/json", "wait=", "wait=1", "wait=-1", "wait=1e9", "respond-async", "90s", "1ms"),
    *("0.0001m", "1-1", "999999999-999999999", "1-", "identity", "gzip", "chunked", "close"),
    *("100-continue", "h2c", "https://app.example", "evil.example", "127.0.0.1:80", "[::1]"),
)
_HEADERS = (
    *("Prefer", "Accept", "Idempotency-Key", "Cancel-After", "Last-Event-ID", "Host", "Async-Mode"),
    *(
        "async_mode",
        "Content-Type",
        "Content-Encoding",
        "Origin",
        "Expect",
        "Connection",
        "Upgrade",
    ),
    *("traceparent", "Access-Control-Request-Method", "Access-Control-Request-Headers", "Cookie"),
    *("If-None-Match", "Range", "Authorization", "X-API-Key", "Forwarded", "X-Forwarded-For", "TE"),
    *("Transfer-Encoding", "Content-Length", "X-HTTP-Method-Override"),
)
_OPTIONS = (
    *("webhook", "priority", "run_timeout", "queue_timeout", "deadline", "ttl", "retries", "model"),
    *("input", "inputs", "Input", "id", "__proto__", "constructor", "", "\u0000"),
)


def request(
    method: str, path: str, headers: Sequence[tuple[str, str]] = (), body: bytes | None = None
) -> bytes:
    """One request; the length of a body is told as it is, and the host if no header does."""
    fields = list(headers)
    if all(name.lower() != "host" for name, _ in fields):
        fields.insert(0, ("Host", HOST))
    if body is not None:
        fields.append(("Content-Length", str(len(body))))
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields), "", ""]
    return "\r\n".join(lines).encode("utf-8", "surrogatepass") + (body or b"")


JSON = ("Content-Type", "application/json")


def post(rng: random.Random, body: bytes, *headers: tuple[str, str]) -> bytes:
    """A prediction request with this body, for any model."""
    path = rng.choice(["/predict", *(f"/models/{name}/predict" for name in MODELS)])
    return request("POST", path, (JSON, *headers), body)


def value(rng: random.Random, depth: int = 3) -> object:
    """Any JSON value, with a taste for the edges."""
    pick = rng.randrange(10 if depth else 7)
    if pick < 2:
        return rng.choice(_WORDS[:-1]).encode("utf-8", "replace").decode()
    if pick < 4:
        edges = (0, -0.0, 2**53 + 1, 2**63, -(2**63) - 1, 2**64, 10**400, 1e308, 5e-324, -1, 6)
        return rng.choice(edges)
    if pick < 7:
        return rng.choice(
            (None, True, False, "fine", "good", {"text": "fine", "stars": 5}, {"x": 1})
        )
    if pick < 9:
        names = ("text", "stars", "a", "b", "x", "y", "metric", "message", *_OPTIONS)
        return {rng.choice(names): value(rng, depth - 1) for _ in range(rng.randrange(5))}
    return [value(rng, depth - 1) for _ in range(rng.randrange(5))]


# The kinds.


def random_bytes(rng: random.Random) -> bytes:
    """Noise, or noise behind the beginning of a request."""
    noise = rng.randbytes(rng.choice((1, 10, 100, 1000, 20_000)))
    begin = rng.choice((b"", b"GET ", b"POST /predict HTTP/1.1\r\n", request("GET", "/livez")))
    return begin + noise


def mutated(rng: random.Random) -> bytes:
    """A valid request with bytes changed, left out, doubled or put elsewhere."""
    data = bytearray(_valid(rng))
    for _ in range(rng.choice((1, 1, 2, 3, 8, 30))):
        at = rng.randrange(len(data) + 1)
        end = at + rng.choice((1, 1, 2, 10))
        change = rng.randrange(5)
        if change == 0:
            data[at:end] = rng.randbytes(end - at)
        elif change == 1:
            del data[at:end]
        elif change == 2:
            data[at:at] = data[at:end] * rng.choice((1, 2, 50))
        elif change == 3:
            data[at:at] = rng.choice((b"\r\n", b"\n", b"\r", b"\0", b": ", b" ", b"\t", b"%", b"{"))
        else:
            to = rng.randrange(len(data) + 1)
            data[to:to] = data[at:end]
    return bytes(data)


def framing(rng: random.Random) -> bytes:
    """Lengths, codings and chunks that do not fit together."""
    body = b'{"input":1}'
    sizes = ("11", "0", "12", "+11", "-1", "0xb", "11, 11", "1_1", " 11", str(2**64), "\t11", "")
    codings = (
        "chunked",
        "Chunked",
        "identity",
        "gzip, chunked",
        "chunked, chunked",
        "xchunked",
        "",
    )
    fields = [("Content-Type", "application/json")]
    spellings = ("Transfer-Encoding", "transfer-encoding ")
    fields += [("Content-Length", rng.choice(sizes)) for _ in range(rng.randrange(3))]
    fields += [(rng.choice(spellings), rng.choice(codings)) for _ in range(rng.randrange(3))]
    rng.shuffle(fields)
    size = rng.choice((b"b", b"B", b"0b", b"b;x=y", b"b ;", b"0xb", b"f" * 17, b"-b", b"", b"b\n"))
    end = rng.choice((b"0\r\n\r\n", b"0\r\nHost: evil\r\n\r\n", b"0\n\n", b"0\r\n", b""))
    chunks = size + rng.choice((b"\r\n", b"\n", b"\r")) + body + rng.choice((b"\r\n", b"")) + end
    sent = request("POST", "/predict", fields) + rng.choice((body, chunks, chunks))
    if rng.random() < 0.2:
        sent = sent.replace(
            b"HTTP/1.1", rng.choice((b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"http/1.1"))
        )
    if rng.random() < 0.2:
        sent = sent.replace(b"\r\n", rng.choice((b"\n", b"\r\n ", b"\r")), rng.randrange(1, 4))
    return sent


def headers(rng: random.Random) -> bytes:
    """A valid request with header values that are none, too many or too large."""
    fields = [(rng.choice(_HEADERS), _phrase(rng)) for _ in range(rng.choice((1, 1, 2, 5)))]
    if rng.random() < 0.03:
        fields += [("X-Many", "a" * rng.choice((1, 400)))] * rng.choice((90, 110, 500))
    if rng.random() < 0.3:
        return request("GET", _path(rng), fields)
    if rng.random() < 0.2:
        return request("OPTIONS", "/predict", [("Origin", "https://app.example"), *fields])
    return post(rng, json.dumps({"input": value(rng)}).encode(), *fields)


def paths(rng: random.Random) -> bytes:
    """Paths, queries and methods that lead nowhere."""
    path = _path(rng)
    for _ in range(rng.randrange(3)):
        path += rng.choice(("", "/")) + rng.choice(_TRAVERSALS)
    if rng.random() < 0.4:
        names = ("status", "model", "limit", "cursor", "x", "")
        pairs = (f"{rng.choice(names)}={_ascii(rng)}" for _ in range(rng.randrange(1, 4)))
        path += "?" + "&".join(pairs)
    if rng.random() < 0.1:
        path = (
            rng.choice(("http://evil.example", "http://127.0.0.1:1", "http://a@b", "ws://x")) + path
        )
    if rng.random() < 0.01:
        path += "a" * 40_000
    return request(rng.choice(_METHODS), path.replace(" ", "%20"))


def malformed_json(rng: random.Random) -> bytes:
    """Bodies that are no JSON, or more of it than anybody needs."""
    depth = rng.choice((50, 99, 101, 1000, 100_000))
    bodies: tuple[Callable[[], bytes], ...] = (
        lambda: b'{"input":' + b"[" * depth + b"]" * depth + b"}",
        lambda: b'{"input":' * depth,
        lambda: b'{"input":' + b'{"a":' * depth + b"1" + b"}" * depth + b"}",
        lambda: b'{"input":' + b"9" * depth + b"}",
        lambda: b'{"input":-' + b"0." + b"1" * depth + b"e" + b"9" * rng.choice((1, 5, 500)) + b"}",
        lambda: b'{"input":"' + rng.randbytes(50) + b'"}',
        lambda: (
            b'{"input":"\\u'
            + rng.choice((b"d800", b"DFFF", b"d83d\\ude00", b"zzzz", b"00"))
            + b'"}'
        ),
        lambda: b'\xef\xbb\xbf{"input":1}',
        lambda: '{"input":1}'.encode(rng.choice(("utf-16", "utf-32", "utf-7"))),
        lambda: (
            b'{"input":'
            + rng.choice((b"NaN", b"Infinity", b"01", b"1.", b"+1", b"0x1", b"'a'"))
            + b"}"
        ),
        lambda: b'{"input":1,"input":2}',
        lambda: b'{"input":"' + b"x" * rng.choice((1, 1000, 900_000, 1_100_000)) + b'"}',
        lambda: b'{"input":[' + b"1," * depth + b"1]}",
        lambda: rng.choice(
            (b"", b"null", b"[]", b"1", b'"', b"{", b"{}", b"[" * depth, b"\0" * depth)
        ),
        lambda: json.dumps({"input": value(rng)}).encode()[: rng.randrange(1, 40)],
    )
    return post(rng, rng.choice(bodies)())


def options(rng: random.Random) -> bytes:
    """An input with options beside it that are none."""
    body = {rng.choice(_OPTIONS): value(rng, 1) for _ in range(rng.randrange(1, 4))}
    if rng.random() < 0.5:
        valid = {
            "priority": "low",
            "deadline": 0.001,
            "ttl": 1,
            "retries": 1,
            "queue_timeout": 0.001,
        }
        body |= {name: valid[name] for name in rng.sample(list(valid), 2)}
    return post(rng, json.dumps({"input": "x"} | body).encode(), *_mode(rng))


def inputs(rng: random.Random) -> bytes:
    """Inputs that a model's schema takes or refuses."""
    return post(rng, json.dumps({"input": value(rng)}).encode(), *_mode(rng))


def records(rng: random.Random) -> bytes:
    """What is done to predictions that there are, or never were; `ID` is one that there is."""
    id = rng.choice(("ID", "ID", "ID", "0" * 36, "01a22ebf-4949-7ebc-9cdd-a270f6978983", "%00"))
    end = rng.choice(("", "", "/cancel", "/retry", "/events", "/nothing"))
    path = rng.choice((f"/predictions/{id}{end}", f"/predict/{id}", f"/predictions/predict/{id}"))
    method = rng.choice(("GET", "GET", "POST", "DELETE"))
    names = ("Last-Event-ID", "Prefer", "Accept", "Idempotency-Key")
    fields = [(rng.choice(names), _phrase(rng)) for _ in range(rng.randrange(2))]
    return request(method, path, fields, b"" if method == "POST" else None)


def pipelines(rng: random.Random) -> bytes:
    """Several requests at once, of which one may be anything."""
    some = [_valid(rng) for _ in range(rng.choice((2, 3, 5, 30)))]
    some.insert(rng.randrange(len(some) + 1), rng.choice((mutated, framing, headers, paths))(rng))
    return b"".join(some)


def endless(rng: random.Random) -> bytes:
    """A request of which one part is longer than any bound, and than what is read at once."""
    much = b"a" * 400_000
    chunked = request("POST", "/predict", [JSON, ("Transfer-Encoding", "chunked")])
    last = chunked + b'b\r\n{"input":1}\r\n0\r\n'
    field = b"%b: %b\r\n"
    parts: tuple[Callable[[], bytes], ...] = (
        lambda: b"GET /" + much,
        lambda: b"GET /livez?" + much,
        lambda: b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX: " + much,
        lambda: b"GET /livez HTTP/1.1\r\nHost: localhost\r\n" + much,
        lambda: b"GET /livez HTTP/1.1\r\n" + field % (b"X", b"a") * rng.choice((110, 9_000)),
        lambda: chunked + b"b;" + much,
        lambda: last + b"X: " + much,
        lambda: last + much,
        lambda: last + field % (b"X", b"a") * 20_000,
        lambda: last + field % (b"X", much[:30_000]) * 10,
    )
    return rng.choice(parts)()


def cut_off(rng: random.Random) -> bytes:
    """A request that ends too early."""
    data = _valid(rng)
    return data[: rng.randrange(1, len(data))]


KINDS: dict[str, Generator] = {
    "random bytes": random_bytes,
    "mutated requests": mutated,
    "framing": framing,
    "headers": headers,
    "paths and methods": paths,
    "malformed JSON": malformed_json,
    "options": options,
    "inputs": inputs,
    "records": records,
    "pipelines": pipelines,
    "endless": endless,
    "cut off": cut_off,
}


def _valid(rng: random.Random) -> bytes:
    if rng.random() < 0.4:
        return request("GET", rng.choice(_FIXED))
    body = json.dumps(
        {"input": rng.choice(("x", 1, {"text": "fine"}, {"a": {"x": 1}, "b": {"x": 2}}))}
    )
    return post(rng, body.encode(), *_mode(rng))


def _mode(rng: random.Random) -> list[tuple[str, str]]:
    modes: tuple[list[tuple[str, str]], ...] = (
        [],
        [("Async-Mode", "true")],
        [("Prefer", "wait=0.01")],
        [("Accept", "text/event-stream")],
        [("Idempotency-Key", f"k{rng.randrange(50)}")],
    )
    return rng.choice(modes)


def _path(rng: random.Random) -> str:
    return rng.choice((*_FIXED, "/predict/ID", "/predictions/ID", "/models/echo", "/models/"))


def _phrase(rng: random.Random) -> str:
    return rng.choice((" ", ", ", ";", "=", "")).join(
        rng.choice(_WORDS) for _ in range(rng.choice((1, 1, 2, 3)))
    )


def _ascii(rng: random.Random) -> str:
    text = rng.choice((*_WORDS, "completed", "queued", "echo", "10", "MTIz"))
    return "".join(c for c in text if c.isprintable() and c not in " #&?")
