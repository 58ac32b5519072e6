"""Webhooks: the end of a prediction is told to the URL that its client gave.

The door (`door`) refuses what will never be called. The sender (`sender`) takes deliveries from
the broker and makes the calls (`caller`): the record (`message`), signed (`signing`), to an
address that was checked (`targets`) and to no other (`transport`).

A server without a secret calls nobody: it starts sooner, without what makes calls.
"""

from typing import TYPE_CHECKING

from zypher.brokers.base import Broker
from zypher.clock import Clock
from zypher.server.webhooks.door import WebhookDoor
from zypher.server.webhooks.sender import Sender, call_nobody
from zypher.settings import Settings

if TYPE_CHECKING:
    from zypher.server.webhooks.targets import Targets

__all__ = ["Sender", "WebhookDoor", "door_for", "sender_for"]


def door_for(settings: Settings) -> WebhookDoor:
    """The door that goes with these settings."""
    return WebhookDoor(_targets(settings) if settings.webhook_secret else None)


def sender_for(broker: Broker, settings: Settings, clock: Clock) -> Sender:
    """The sender that goes with these settings."""
    if not settings.webhook_secret:
        return Sender(broker, call_nobody, clock)

    from zypher.server.webhooks.caller import Caller
    from zypher.server.webhooks.signing import Signer

    signer = Signer(secret.get_secret_value() for secret in settings.webhook_secret)
    return Sender(broker, Caller(_targets(settings), signer, clock).call, clock)


def _targets(settings: Settings) -> "Targets":
    from zypher.server.webhooks.targets import Targets

    return Targets(allow_private=settings.webhook_allow_private)
