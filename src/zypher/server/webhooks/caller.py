"""One call of a webhook, and what came of it."""

import asyncio
import ssl
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import cached_property

import httpx2

from zypher.clock import Clock
from zypher.prediction import Prediction
from zypher.server.webhooks.message import message
from zypher.server.webhooks.reasons import Miss, Refused
from zypher.server.webhooks.signing import Signer
from zypher.server.webhooks.targets import Targets
from zypher.server.webhooks.transport import CheckedTransport

# Seconds for a connection, and for the whole call.
CONNECT_TIMEOUT = 5.0
CALL_TIMEOUT = 15.0

_GONE = 410
_WAITS = (429, 503)  # whose Retry-After counts


class Caller:
    """Makes calls. `verify` replaces the certificates that are trusted."""

    def __init__(
        self,
        targets: Targets,
        signer: Signer,
        clock: Clock,
        *,
        timeout: float = CALL_TIMEOUT,
        verify: ssl.SSLContext | None = None,
    ) -> None:
        self._targets = targets
        self._signer = signer
        self._clock = clock
        self._timeout = timeout
        self._verify = verify

    async def call(self, record: Prediction) -> Miss | None:
        """Tell the webhook of a prediction that has ended; None if it has taken that."""
        try:
            async with asyncio.timeout(self._timeout):
                return await self._post(record)
        except TimeoutError:
            return Miss(f"it did not answer within {self._timeout:g} s")
        except Refused as refusal:
            return Miss(str(refusal))
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            return Miss(f"it cannot be reached ({error or type(error).__name__})")

    async def _post(self, record: Prediction) -> Miss | None:
        body = message(record)
        request = httpx2.Request(
            "POST",
            self._targets.require(record.options.webhook or ""),
            headers={
                "Content-Type": "application/json",
                "User-Agent": "Zypher",
                **({"traceparent": record.traceparent} if record.traceparent else {}),
                **self._signer.headers(record.id, int(self._clock.wall()), body),
            },
            content=body,
            extensions={"timeout": {"connect": CONNECT_TIMEOUT}},
        )
        response = await self._transport.handle_async_request(request)
        await response.aclose()  # what else it says is of no interest
        if response.is_success:
            return None
        return Miss(
            f"it answered {response.status_code}",
            retry_after=self._retry_after(response),
            is_final=response.status_code == _GONE,
        )

    @cached_property
    def _transport(self) -> CheckedTransport:
        return CheckedTransport(self._targets, self._verify)

    def _retry_after(self, response: httpx2.Response) -> float | None:
        """Seconds for which the receiver does not want to be called; None if it does not say."""
        value = response.headers.get("retry-after", "")
        if response.status_code not in _WAITS:
            return None
        if value.isascii() and value.isdigit():
            return float(value)
        try:
            date = parsedate_to_datetime(value)
        except (ValueError, OverflowError):  # it may have numbers of any size in it
            return None
        return date.replace(tzinfo=UTC).timestamp() - self._clock.wall()
