"""The documentation page: Swagger UI, as a browser shows it and may run it."""

from html import escape
from pathlib import Path

from fastapi import Response
from fastapi.responses import FileResponse, HTMLResponse
from fastapi.staticfiles import StaticFiles
from starlette.types import Scope

from zypher.server.page import HEADERS

_SWAGGER = Path(__file__).with_name("swagger")

# Nothing but its own files, and in nobody's frame. It puts styles into its markup.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_HEADERS = HEADERS | {"Content-Security-Policy": _POLICY}

_PAGE = """<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>{title}</title>
  <link rel="stylesheet" href="docs/swagger-ui.css">
  <link rel="icon" href="docs/favicon-32x32.png">
</head>
<body>
  <div id="swagger-ui"></div>
  <script src="docs/swagger-ui-bundle.js"></script>
  <script src="docs/start.js"></script>
</body>
</html>
"""


def page(title: str) -> Response:
    """The page; all addresses in it are relative."""
    return HTMLResponse(_PAGE.format(title=escape(title)), headers=_HEADERS)


def page_with_key() -> Response:
    """The page of a server that asks for an API key before it says anything of itself."""
    return FileResponse(_SWAGGER / "with-key.html", headers=_HEADERS)


class Files(StaticFiles):
    """What the page loads."""

    def __init__(self) -> None:
        super().__init__(directory=_SWAGGER)

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers.update(_HEADERS)
        return response
