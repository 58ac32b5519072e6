"""Webhooks: the end of a prediction is told to the URL that its client gave.

The door (`door`) refuses what will never be called. The sender (`sender`) takes deliveries from
the broker and makes the calls (`caller`): the record (`message`), signed (`signing`), to an
address that was checked (`targets`) and to no other (`transport`).
"""

from zypher.brokers.base import Broker
from zypher.clock import Clock
from zypher.server.webhooks.caller import Caller
from zypher.server.webhooks.door import WebhookDoor
from zypher.server.webhooks.sender import Sender
from zypher.server.webhooks.signing import Signer
from zypher.server.webhooks.targets import Targets
from zypher.settings import Settings

__all__ = ["Sender", "WebhookDoor", "door_for", "sender_for"]


def door_for(settings: Settings) -> WebhookDoor:
    """The door that goes with these settings."""
    return WebhookDoor(_targets(settings), can_sign=bool(settings.webhook_secret))


def sender_for(broker: Broker, settings: Settings, clock: Clock) -> Sender:
    """The sender that goes with these settings."""
    signer = Signer(secret.get_secret_value() for secret in settings.webhook_secret)
    return Sender(broker, Caller(_targets(settings), signer, clock), clock)


def _targets(settings: Settings) -> Targets:
    return Targets(allow_private=settings.webhook_allow_private)
