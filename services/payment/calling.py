"""One call to Stripe: which question to ask, and what its outcome means for the queue.

Whatever is in doubt is repeated under the same key: a 5xx, a time-out, a lost answer. Stripe then
does it, or gives the answer that it has stored, so a doubtful call costs one call per attempt. Only
a key that Stripe answers with a stored 500 (the answer says so), or that is so old that Stripe may
have forgotten it, is spent: the call's effect is looked for first, and only if it is not there is
the call made again, under a fresh key. An intent whose id is known from an event is retrieved,
never made twice. No look-up costs more than two calls, whatever else happens in the account.
"""

from datetime import timedelta
from typing import Final
from uuid import UUID

from services.kit.calls import backoff
from services.payment.call_queue import Deferral
from services.payment.model import Call, CallKind
from services.payment.provider import (
    Intent,
    MadeRefund,
    Provider,
    StripeRefused,
    StripeRetry,
    StripeUnexpectedState,
)
from services.payment.rules import Answer

_CANCELABLE: Final = "requires_"
_CLOCKS_DIFFER: Final = timedelta(minutes=5)
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.2, 60.0


class NotThere:
    """The effect was looked for and is not there: the call may be made under a fresh key."""


Outcome = Answer | StripeRetry | NotThere


async def make(provider: Provider, call: Call, key_lifetime: float) -> Outcome:
    """Ask Stripe. `key_lifetime`: seconds for which Stripe surely remembers a key.

    Never raises a StripeAnswer: those are outcomes.
    """
    try:
        if call.look_first or (call.tries > 1 and call.key_age > key_lifetime):
            return await _look(provider, call)
        return await _make(provider, call)
    except (StripeRetry, StripeRefused, StripeUnexpectedState) as answer:
        return answer


async def _make(provider: Provider, call: Call) -> Intent | MadeRefund:
    intent_id = call.payment_intent_id
    match call.kind:
        case CallKind.CREATE_INTENT if intent_id is None:
            amount, currency = call.parameters["amount"], call.parameters["currency"]
            return await provider.create_intent(call.order_id, amount, currency, call.key)
        case CallKind.CANCEL_INTENT:
            return await provider.cancel_intent(_known(intent_id), call.key)
        case CallKind.CREATE_REFUND:
            amount, refund_id = call.parameters["amount"], UUID(call.parameters["refund_id"])
            return await provider.create_refund(
                _known(intent_id), amount, call.order_id, refund_id, call.key
            )
        case _:
            return await provider.retrieve_intent(_known(intent_id))


async def _look(provider: Provider, call: Call) -> Intent | MadeRefund | NotThere:
    found: Intent | MadeRefund | None
    if call.kind is CallKind.CREATE_REFUND:
        refund_id = UUID(call.parameters["refund_id"])
        found = await provider.find_refund(_known(call.payment_intent_id), refund_id)
    elif call.payment_intent_id is None:
        since = call.created_at - _CLOCKS_DIFFER
        found = await provider.find_intent(call.order_id, since, call.spent_for)
    else:
        found = intent = await provider.retrieve_intent(call.payment_intent_id)
        if call.kind is CallKind.CANCEL_INTENT and intent.status.startswith(_CANCELABLE):
            found = None
    return found or NotThere()


def _known(intent_id: str | None) -> str:
    if intent_id is None:
        raise StripeRefused("the payment has no intent")
    return intent_id


def deferral(call: Call, outcome: StripeRetry | NotThere, chance: float) -> Deferral:
    """When to repeat a call, and how. `chance`: 0 to 1, spreads the repeats of many calls."""
    if isinstance(outcome, NotThere):
        return Deferral(call, 0.0, "not there; a fresh key is next", fresh_key=True)
    look_first = call.look_first or outcome.key_spent
    return Deferral(
        call, pause(call.attempts, outcome.retry_after, chance), str(outcome), look_first
    )


def pause(attempts: int, retry_after: float | None, chance: float) -> float:
    """Seconds until the next attempt: doubled each time, half of it by chance, never less than
    Stripe asks for."""
    return max(backoff(_SHORTEST_PAUSE, _LONGEST_PAUSE, attempts, chance), retry_after or 0.0)
