"""What a webhook must be for its prediction to be taken in."""

from zypher.errors import InvalidInput
from zypher.server.validation import fault
from zypher.server.webhooks.targets import Refused, Targets


class WebhookDoor:
    """Refuses the webhooks that would never be called; `can_sign`: there is a secret."""

    def __init__(self, targets: Targets, *, can_sign: bool) -> None:
        self._targets = targets
        self._can_sign = can_sign

    def require(self, url: str) -> None:
        """Raise `InvalidInput` if this will not be called."""
        if not self._can_sign:
            raise _refusal(
                "This server calls no webhooks: it has no secret to sign them with. Set "
                "webhook-secret, or leave out the webhook."
            )
        try:
            self._targets.require(url)
        except Refused as reason:
            raise _refusal(str(reason)) from None


def _refusal(sentence: str) -> InvalidInput:
    return InvalidInput(sentence, errors=[fault(["body", "webhook"], sentence, "webhook")])
