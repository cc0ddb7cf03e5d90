"""Stripe's API: the only module that imports `stripe`.

Each method is one question or one effect. Nothing is repeated here: whoever asks repeats, under
the same idempotency key, so that a crash and a lost answer are the same case.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final, NoReturn, TypeVar, cast
from uuid import UUID

import aiohttp
import stripe
from aiolimiter import AsyncLimiter
from stripe.params import EventListParams, PaymentIntentListParams, PaymentIntentSearchParams

from services.payment.provider import (
    Intent,
    MadeRefund,
    StripeRefused,
    StripeRetry,
    StripeUnexpectedState,
)
from services.payment.settings import PaymentSettings

API_VERSION: Final = "2026-10-28.endive"
_PAGE = 100  # Stripe's limit

T = TypeVar("T")


def limit_calls(settings: PaymentSettings) -> AsyncLimiter:
    """The limit of this process, for all clients that share it."""
    return AsyncLimiter(settings.stripe_calls_per_second, 1)


@asynccontextmanager
async def connect(
    settings: PaymentSettings, limiter: AsyncLimiter | None = None
) -> AsyncIterator["StripeApi"]:
    """Open a client that belongs to the running event loop; without `limiter` it has its own."""
    http = stripe.AIOHTTPClient(
        # The SDK's own default is 80 s, longer than a call's lease.
        timeout=aiohttp.ClientTimeout(total=settings.stripe_timeout_seconds)
    )
    client = stripe.StripeClient(
        settings.stripe_secret_key.get_secret_value(),
        http_client=http,
        max_network_retries=0,
        stripe_version=API_VERSION,
        base_addresses={"api": settings.stripe_api_base} if settings.stripe_api_base else {},
    )
    try:
        delay = settings.stripe_search_delay_seconds
        yield StripeApi(client, limiter or limit_calls(settings), delay)
    finally:
        await http.close_async()  # type: ignore[no-untyped-call]


class StripeApi:
    def __init__(
        self, client: stripe.StripeClient, limiter: AsyncLimiter, search_delay: float
    ) -> None:
        self._client = client
        self._limiter = limiter
        self._search_delay = search_delay

    async def create_intent(self, order_id: UUID, amount: int, currency: str, key: str) -> Intent:
        made = await self._ask(
            lambda: self._client.v1.payment_intents.create_async(
                {
                    "amount": amount,
                    "currency": currency,
                    "automatic_payment_methods": {"enabled": True},
                    "metadata": {"order_id": str(order_id)},
                },
                {"idempotency_key": key},
            )
        )
        return _intent(made.to_dict())

    async def cancel_intent(self, intent_id: str, key: str) -> Intent:
        canceled = await self._ask(
            lambda: self._client.v1.payment_intents.cancel_async(
                intent_id, {"cancellation_reason": "abandoned"}, {"idempotency_key": key}
            )
        )
        return _intent(canceled.to_dict())

    async def retrieve_intent(self, intent_id: str) -> Intent:
        found = await self._ask(
            lambda: self._client.v1.payment_intents.retrieve_async(
                intent_id, {"expand": ["latest_charge"]}
            )
        )
        return _intent(found.to_dict())

    async def find_intent(self, order_id: UUID, since: datetime, spent_for: float) -> Intent | None:
        # Two calls at most, however busy the account is. Lists are complete at once, but one page
        # is all that is read: in a quiet account it reaches back to `since` and decides. Otherwise
        # the search decides, one call, as soon as it can know the intent.
        early = spent_for < self._search_delay
        try:
            page = await (self._newest_intents(since) if early else self._search(order_id))
        except StripeRefused as error:  # of the look, which says nothing about the payment
            raise StripeRetry(f"looking for the intent: {error}", key_spent=True) from error
        for seen in page.data:
            intent = seen.to_dict()
            if (intent.get("metadata") or {}).get("order_id") == str(order_id):
                return _intent(intent)
        if early and page.has_more:
            left = self._search_delay - spent_for
            why = "the intent is not in the newest page: Stripe's search is next"
            raise StripeRetry(why, key_spent=True, retry_after=left)
        return None

    async def _newest_intents(self, since: datetime) -> stripe.ListObject[stripe.PaymentIntent]:
        asked: PaymentIntentListParams = {
            "limit": _PAGE,
            "created": {"gte": int(since.timestamp())},
            "expand": ["data.latest_charge"],
        }
        return await self._ask(lambda: self._client.v1.payment_intents.list_async(asked))

    async def _search(self, order_id: UUID) -> stripe.SearchResultObject[stripe.PaymentIntent]:
        asked: PaymentIntentSearchParams = {
            "query": f"metadata['order_id']:'{order_id}'",
            "expand": ["data.latest_charge"],
        }
        return await self._ask(lambda: self._client.v1.payment_intents.search_async(asked))

    async def create_refund(
        self, intent_id: str, amount: int, order_id: UUID, refund_id: UUID, key: str
    ) -> MadeRefund:
        made = await self._ask(
            lambda: self._client.v1.refunds.create_async(
                {
                    "payment_intent": intent_id,
                    "amount": amount,
                    "metadata": {"order_id": str(order_id), "refund_id": str(refund_id)},
                    "expand": ["charge"],
                },
                {"idempotency_key": key},
            )
        )
        return _refund(made.to_dict())

    async def find_refund(self, intent_id: str, refund_id: UUID) -> MadeRefund | None:
        # One page is enough: Stripe gives the newest first, and this refund is of today.
        page = await self._ask(
            lambda: self._client.v1.refunds.list_async(
                {"payment_intent": intent_id, "limit": _PAGE, "expand": ["data.charge"]}
            )
        )
        for seen in page.data:
            refund = seen.to_dict()
            ours = (refund.get("metadata") or {}).get("refund_id") == str(refund_id)
            if ours and refund["status"] not in ("failed", "canceled"):
                return _refund(refund)
        return None

    async def events(
        self, types: Sequence[str], since: datetime, until: datetime
    ) -> AsyncIterator[list[dict[str, Any]]]:
        """Events created from `since` to just before `until`, in pages, newest first. As they are:
        they hold personal data, so keep what `StripeEventReceived` keeps."""
        asked: EventListParams = {
            "types": list(types),
            "limit": _PAGE,
            "created": {"gte": int(since.timestamp()), "lt": int(until.timestamp())},
        }
        while True:
            # As JSON: objects of the SDK, made only to be dicts again, cost ten times as much.
            answer = await self._ask(
                lambda: self._client.raw_request_async("get", "/v1/events", **asked)
            )
            page = cast("dict[str, Any]", answer.data)
            if page["data"]:
                yield page["data"]
            if not page["has_more"]:
                return
            asked["starting_after"] = page["data"][-1]["id"]

    async def _ask(self, request: Callable[[], Awaitable[T]]) -> T:
        await self._limiter.acquire()
        try:
            return await request()
        except stripe.StripeError as error:
            _explain(error)
        except (aiohttp.ClientError, OSError) as error:  # while the answer is being read
            raise StripeRetry(f"no answer: {error!r}", no_answer=True) from error


def _explain(error: stripe.StripeError) -> NoReturn:
    status = error.http_status
    message = error.user_message or str(error)
    if status is None:
        raise StripeRetry(f"no answer: {error.__cause__!r}", no_answer=True) from error
    headers = error.headers or {}
    if isinstance(error, stripe.IdempotencyError) and status == 400:
        raise StripeRetry(message, key_spent=True) from error
    # 401 and 403 say nothing about the payment: an operator has to mend the key.
    if status in (401, 403, 409, 429) or status >= 500:
        raise StripeRetry(
            f"{status}: {message}",
            retry_after=_seconds(headers.get("Retry-After")),
            server_error=status >= 500,
            key_spent=status >= 500 and headers.get("Idempotent-Replayed") == "true",
        ) from error
    body = error.json_body if isinstance(error.json_body, dict) else {}
    intent = body.get("error", {}).get("payment_intent")
    if error.code == "payment_intent_unexpected_state" and intent:
        raise StripeUnexpectedState(_intent(intent)) from error
    raise StripeRefused(message, error.code) from error


def _seconds(header: str | None) -> float | None:
    try:
        return max(0.0, float(header)) if header else None
    except ValueError:  # the header may hold a date; our own pauses do then
        return None


def _intent(seen: dict[str, Any]) -> Intent:
    charge = seen.get("latest_charge")
    error = seen.get("last_payment_error") or {}
    return Intent(
        id=seen["id"],
        status=seen["status"],
        amount=seen["amount"],
        currency=seen["currency"],
        amount_received=seen.get("amount_received"),
        livemode=bool(seen.get("livemode")),
        client_secret=seen.get("client_secret"),
        amount_refunded=charge["amount_refunded"] if isinstance(charge, dict) else None,
        error_message=error.get("message"),
        error_code=error.get("decline_code") or error.get("code"),
    )


def _refund(seen: dict[str, Any]) -> MadeRefund:
    charge = seen.get("charge")
    return MadeRefund(
        id=seen["id"],
        status=seen.get("status") or "",
        amount=seen["amount"],
        charge_refunded=charge["amount_refunded"] if isinstance(charge, dict) else None,
        failure_reason=seen.get("failure_reason"),
    )
