"""The HTTP side. It knows the broker and nothing of workers: they meet in the broker."""

from zypher.server.app import build_app
from zypher.server.state import Phase, ServerState
from zypher.server.webhooks import Sender, sender_for

__all__ = ["Phase", "Sender", "ServerState", "build_app", "sender_for"]
