"""The page: files of this package that a browser shows. It talks to the API as any client does."""

import hashlib
from pathlib import Path

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from zypher.errors import NotFound

INDEX = "index.html"

_FILES = Path(__file__).with_name("page")
_MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

# Nothing but the page's own files, no markup made of text, and in nobody's frame. Media that are
# data are inputs and results.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "media-src data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS = {
    "Cache-Control": "no-cache",  # asked for each time, and sent when it has changed
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_HEADERS = HEADERS | {"Content-Security-Policy": _POLICY}


def add_to(router: APIRouter) -> None:
    """Register the page and its files."""
    router.add_api_route("/ui", _index, include_in_schema=False)
    router.add_api_route("/ui/", _without_slash, include_in_schema=False)
    router.add_api_route("/ui/{name}", _file, include_in_schema=False)


def answer(request: Request, name: str = INDEX) -> Response:
    """A file of the page, unless the browser has it already. Raises `NotFound`."""
    found = _FILES_BY_NAME.get(name)
    if found is None:
        raise NotFound(f"The page has no file {name!r}.")
    content, tag = found
    headers = _HEADERS | {"ETag": tag}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers, media_type=_MEDIA_TYPES[Path(name).suffix])


async def _index(request: Request) -> Response:
    return answer(request)


async def _without_slash(request: Request) -> Response:
    return RedirectResponse("../ui", headers=HEADERS)  # the page's addresses are relative


async def _file(request: Request) -> Response:
    return answer(request, request.path_params["name"])


def _read(path: Path) -> tuple[bytes, str]:
    content = path.read_bytes()
    return content, f'"{hashlib.sha256(content).hexdigest()[:16]}"'


_FILES_BY_NAME = {path.name: _read(path) for path in _FILES.iterdir()}
