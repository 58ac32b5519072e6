"""What a webhook must be for its prediction to be taken in."""

from typing import TYPE_CHECKING

from zypher.errors import InvalidInput
from zypher.server.validation import fault
from zypher.server.webhooks.reasons import Refused

if TYPE_CHECKING:
    from zypher.server.webhooks.targets import Targets


class WebhookDoor:
    """Refuses the webhooks that would never be called; without `targets`, all of them."""

    def __init__(self, targets: "Targets | None") -> None:
        self._targets = targets

    def require(self, url: str) -> None:
        """Raise `InvalidInput` if this will not be called."""
        if self._targets is None:
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
