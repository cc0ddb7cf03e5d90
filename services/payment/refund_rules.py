"""Refunds. Pure, like `rules`.

`amount_refunded` is what the charge has given back in all, as Stripe counts it; nothing here adds
amounts up. Stripe counts a refund from the moment it is made, also while it is `pending` on its
way to the customer, and takes it back when it fails. So:

- a refund that Stripe has made is done, `pending` or not, and is said with the charge's new sum;
- our own refund coming back as `charge.refunded` changes no sum, and nothing is said;
- sums grow until a refund fails. From then on they can fall, an event's sum may be older than the
  failure, and so they are asked for: `check_requested` makes the next call retrieve the intent.

A refund that fails for a time (`_TEMPORARY`) is made anew when its business key is asked again,
under a new key. One that fails for good stays failed, and is said to have failed whenever it is
asked: staff decide, and another try has another business key. A failure that is not known to pass
is for good.
"""

from dataclasses import replace
from datetime import datetime
from typing import Final
from uuid import UUID

from contracts.message import Message
from contracts.order import MinorUnits
from contracts.payment import RefundPayment
from services.payment import replies
from services.payment.model import (
    Payment,
    Refund,
    RefundStatus,
    Result,
    Verdict,
)
from services.payment.provider import MadeRefund

_TEMPORARY: Final = frozenset(
    {"balance_insufficient", "insufficient_funds", "lock_timeout", "processing_error", "rate_limit"}
)
"""Error codes and failure reasons that pass by themselves, or once the Stripe balance is filled."""

_SUMS_BEHIND: Final = frozenset({None, "charge_already_refunded"})
"""Stripe says that there is less to give back than we think (an amount that is too great has no
code): its sums decide what it means."""

_BY_DISPUTE: Final = frozenset(
    {"charge_disputed", "refund_disputed_payment", "charge_for_pending_refund_disputed"}
)
"""Why Stripe refuses, or takes back, a refund of a charge that a bank disputes."""


def refund(payment: Payment, command: RefundPayment, now: datetime) -> Verdict:
    """Give money back; says the answer where it can be given without Stripe."""
    return Verdict(Result.APPLIED, _refund(payment, command, now))


def _refund(payment: Payment, command: RefundPayment, now: datetime) -> list[Message]:
    known = payment.refunds.get(command.refund_id)
    if known is not None and known.status is not RefundStatus.FAILED:
        under_way = known.to_make or known.status is RefundStatus.FAILING
        return [] if under_way else [replies.gone_back(payment, command.refund_id)]
    # A fixed amount is tried once: nobody waits for it, so nobody could stop a second try.
    if known is not None and (known.final or command.amount is not None):
        return [_failure(payment, replace(known, final=True))]
    if not payment.amount_received:
        if payment.ended:  # nothing came in and nothing can: the undo is done
            return [replies.refunded(payment, command.refund_id)]
        return [replies.refund_failed(payment, command.refund_id, "The payment has not succeeded.")]
    left = max(0, payment.left_to_refund - command.settled_outside)
    amount = left if command.amount is None else command.amount
    if amount == 0:
        # All back already, or about to be: that refund's answer is this one's.
        about_to_be = any(refund.to_make for refund in payment.refunds.values())
        return [] if about_to_be else [replies.gone_back(payment, command.refund_id)]
    wanted = Refund(
        refund_id=command.refund_id,
        order_id=payment.order_id,
        amount=amount,
        status=RefundStatus.PENDING,
        attempt=known.attempt + 1 if known else 1,
        created_at=known.created_at if known else now,
        updated_at=now,
    )
    if amount > left:  # kept, so that it stays refused when there is more to refund later
        message = _too_much(amount, left, payment.currency)
        wanted = replace(wanted, status=RefundStatus.FAILED, failure_message=message, final=True)
    payment.refunds[command.refund_id] = wanted
    return [_failure(payment, wanted)] if wanted.final else []


def _failure(payment: Payment, known: Refund) -> Message:
    return replies.refund_failed(
        payment,
        known.refund_id,
        known.failure_message or "",
        code=known.failure_code,
        final=known.final,
    )


# -- answers -----------------------------------------------------------------------------------


def made(payment: Payment, refund_id: UUID, answer: MadeRefund) -> Verdict:
    """Stripe made the refund, or found the one that it made before."""
    known = payment.refunds[refund_id]
    if known.stripe_refund_id == answer.id:
        # An event told of its failure before this answer came; a repeated answer may be old.
        return Verdict(Result.STALE, reason="known")
    if answer.status in ("failed", "canceled"):
        return _fell(payment, replace(known, stripe_refund_id=answer.id), answer.failure_reason)
    done = answer.status == "succeeded"
    payment.refunds[refund_id] = replace(
        known,
        status=RefundStatus.SUCCEEDED if done else RefundStatus.PENDING,
        stripe_refund_id=answer.id,
        failure_message=None,
        failure_code=None,
    )
    total = answer.charge_refunded
    verdict = observe(payment, payment.amount_refunded + answer.amount if total is None else total)
    # Said also when an event told the sum before: the order waits for this refund's answer.
    verdict.messages = [replies.gone_back(payment, refund_id)]
    return verdict


def refused(payment: Payment, refund_id: UUID, message: str, code: str | None) -> Verdict:
    """Stripe will not make the refund. Its reason may be that our sums are behind, so they are
    asked for, and decide whether it can be asked again."""
    known = replace(payment.refunds[refund_id], failure_message=message, failure_code=code)
    payment.check_requested = True
    if code in _SUMS_BEHIND:
        payment.refunds[refund_id] = replace(known, status=RefundStatus.FAILING)
        return Verdict(Result.CHECKING, reason=message)
    known = replace(known, status=RefundStatus.FAILED, final=code not in _TEMPORARY)
    payment.refunds[refund_id] = known
    return Verdict(Result.APPLIED, [_failure(payment, known)], message)


def observe(payment: Payment, total: int) -> Verdict:
    """A charge's sum, from an event or from the answer to a refund."""
    if total == payment.amount_refunded:
        return Verdict(Result.STALE, reason="known")
    if payment.refund_failed:
        payment.check_requested = True
        return Verdict(Result.CHECKING, reason="a refund failed before; sums can fall")
    if total < payment.amount_refunded:
        return Verdict(Result.STALE, reason="an older sum")
    payment.amount_refunded = total
    return Verdict(Result.APPLIED, replies.refunded_so_far(payment))


def recount(payment: Payment, total: int) -> list[Message]:
    """A charge's sum as Stripe gives it when asked: the truth, also when it fell."""
    if total < payment.amount_refunded and not payment.refund_failed:
        # No refund is known to have failed: the answer may have been overtaken. Asked once more, it
        # is believed.
        payment.refund_failed = payment.check_requested = True
        return []
    before, payment.amount_refunded = payment.amount_refunded, total
    messages = replies.refunded_so_far(payment) if total > before else []
    failing = [known for known in payment.refunds.values() if known.status is RefundStatus.FAILING]
    for known in failing:
        moved_on = known.stripe_refund_id is None and total != before
        final = not moved_on and known.failure_code not in _TEMPORARY
        failed = replace(known, status=RefundStatus.FAILED, final=final)
        payment.refunds[known.refund_id] = failed
        all_back = payment.amount_received == total + payment.lost
        if all_back and known.stripe_refund_id is None:
            # Refused because everything is back, which is what was wanted.
            messages = [replies.gone_back(payment, known.refund_id)]
        else:
            messages.append(_failure(payment, failed))
    if total < before and not failing:
        messages.append(
            replies.refund_failed(
                payment, None, "A refund that was made at Stripe failed.", final=True
            )
        )
    return messages


def lose(payment: Payment, amount: MinorUnits) -> list[Message]:
    """A dispute is lost: the bank has given this much to the customer."""
    payment.amount_lost += amount
    return replies.refunded_so_far(payment) if payment.amount_received else []


def win(payment: Payment, lost_before: MinorUnits, message: str) -> list[Message]:
    """A dispute has ended in the shop's favour; `lost_before` was counted as lost until now."""
    payment.amount_lost -= lost_before
    if not payment.amount_received:
        return []
    messages: list[Message] = []
    if lost_before:
        messages.append(replies.refund_failed(payment, None, message, final=True))
    if not payment.disputed and any(
        refund.final and refund.failure_code in _BY_DISPUTE for refund in payment.refunds.values()
    ):
        messages.append(replies.refund_possible(payment, message))
    return messages


# -- events ------------------------------------------------------------------------------------


def moved(payment: Payment, event: MadeRefund, refund_id: UUID | None) -> Verdict:
    """Stripe says how a refund goes on; `refund_id` is in its metadata if we made it."""
    known = payment.refunds.get(refund_id) if refund_id else None
    if known is not None and known.stripe_refund_id not in (None, event.id):
        return Verdict(Result.STALE, reason="an earlier attempt of the refund")
    if event.status in ("failed", "canceled"):
        if known is not None:
            if known.status in (RefundStatus.FAILING, RefundStatus.FAILED):
                return Verdict(Result.STALE, reason="known")
            known = replace(known, stripe_refund_id=event.id)
        return _fell(payment, known, event.failure_reason)
    if (
        known is not None
        and event.status == "succeeded"
        and known.status is RefundStatus.PENDING
        and known.stripe_refund_id is not None
    ):
        payment.refunds[known.refund_id] = replace(known, status=RefundStatus.SUCCEEDED)
        return Verdict(Result.APPLIED)
    return Verdict(Result.STALE, reason="nothing new")


def _fell(payment: Payment, known: Refund | None, reason: str | None) -> Verdict:
    """A refund failed after it was made; what stands is asked for, and then said."""
    payment.refund_failed = True
    payment.check_requested = True
    if known is not None:
        message = f"The refund failed at Stripe: {reason or 'no reason given'}."
        payment.refunds[known.refund_id] = replace(
            known, status=RefundStatus.FAILING, failure_message=message, failure_code=reason
        )
    return Verdict(Result.CHECKING, reason="a refund failed")


def _too_much(amount: MinorUnits, left: MinorUnits, currency: str) -> str:
    return (
        f"Refund amount ({amount} {currency}) is greater than unrefunded amount on charge "
        f"({left} {currency}), in minor units."
    )
