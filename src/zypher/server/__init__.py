"""The HTTP side. It knows the broker and nothing of workers: they meet in the broker."""

from zypher.server.app import build_app
from zypher.server.server import Server
from zypher.server.state import Phase, ServerState

__all__ = ["Phase", "Server", "ServerState", "build_app"]
