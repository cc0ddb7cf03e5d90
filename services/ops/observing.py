"""Turns a batch of records into rows: timeline, audit, orders, dead letters, levels of stock.

A constant number of statements, whatever the batch holds. A record that is no message of ours is
noted like the others: who watches parks nothing.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

from contracts.audit import InventoryAudited, OrderAudited, OrderWaits, PaymentAudited
from contracts.dead_letters import MessageParked, OperationAnswered, ParkedMessageChanged
from contracts.inventory import ProductCommandDone, ProductUpdated
from contracts.message import Envelope, sent_at_ms
from contracts.order import (
    CancelOrder,
    ChangeOrderStatus,
    CommandRefused,
    OrderUpdated,
    RefundOrder,
    RetryOrder,
    RetryRefund,
    SettleRefund,
)
from contracts.payment import RefundFailed, RefundPayment
from services.kit.messages import Incoming, Record, Unreadable, shortened, storable
from services.kit.processor import Item
from services.kit.work import Work
from services.ops.chain import Entry, Head
from services.ops.rules import SUMMARY_LENGTH, mask, summary
from services.ops.store import (
    adjustments,
    audit,
    bulks,
    letters,
    operations,
    orders,
    stock,
    timeline,
)

Audited = OrderAudited | OrderWaits | InventoryAudited | PaymentAudited
_BY_STAFF = frozenset(
    command.wire_type
    for command in (CancelOrder, ChangeOrderStatus, RefundOrder, RetryRefund, SettleRefund)
)


async def observe(work: Work, items: Sequence[Item]) -> None:
    """Note all of a batch."""
    if not items:
        return
    if notes := [note(item, work.now) for item in items if not _of_catalogue(item)]:
        await timeline.insert_messages(work.db, notes)
    heard = [item for item in items if isinstance(item, Incoming)]
    if audited := [m for m in heard if _is_for_ever(m.message)]:
        await _append(work, audited)
    if of_orders := _of(heard, OrderAudited, OrderUpdated, OrderWaits):
        await orders.lock_orders(work.db, {m.message.order_id for m in of_orders})
    if changes := [m.message for m in _of(heard, OrderAudited)]:
        await orders.save_newer_states(work.db, changes)
    if waits := [m.message for m in _of(heard, OrderWaits)]:
        await orders.save_newer_waits(work.db, waits)
    if views := [m.message for m in _of(heard, OrderUpdated)]:
        await orders.save_newer_views(work.db, views)
    answers = _of(heard, OrderAudited, OrderWaits, CommandRefused, RefundPayment)
    if to_commands := [answer for m in answers if (answer := _answer(m))]:
        await bulks.save_answers(work.db, to_commands, work.now)
    if failures := [failure for m in _of(heard, RefundFailed) if (failure := _failure(m.message))]:
        await bulks.save_failures(work.db, failures, work.now)
    if parked := _of(heard, MessageParked):
        await letters.save_parked(work.db, parked)
    if changed := _of(heard, ParkedMessageChanged):
        await letters.save_newer_changes(work.db, changed)
        await operations.save_outcomes(work.db, [m.message for m in changed])
    if answered := [m.message for m in _of(heard, OperationAnswered)]:
        await operations.save_answers(work.db, answered, work.now)
    if done := [m.message for m in _of(heard, ProductCommandDone)]:
        await adjustments.save_answers(work.db, done, work.now)
    # Last: every replica writes to the rows of products that everybody buys.
    if levels := [m.message for m in _of(heard, ProductUpdated)]:
        await stock.save_newer_levels(work.db, levels)


def _of(heard: Sequence[Incoming[Any]], *kinds: type) -> list[Incoming[Any]]:
    return [m for m in heard if isinstance(m.message, kinds)]


def _is_for_ever(message: Any) -> bool:
    """What the audit keeps: each change, and what a person did; not each round of a timer."""
    if isinstance(message, OrderWaits):
        return message.requested_by is not None
    return isinstance(message, OrderAudited | InventoryAudited | PaymentAudited)


def _answer(
    m: Incoming[OrderAudited | OrderWaits | CommandRefused | RefundPayment],
) -> bulks.Answered | None:
    """What a person's command led to; None where it was something else that changed the order.

    Of a refund of a part the order service tells nobody but the payment service.
    """
    if isinstance(m.message, OrderAudited) and m.message.action not in _BY_STAFF:
        return None  # most records: before their cause is read
    if isinstance(m.message, OrderWaits) and m.message.requested_by is None:
        return None
    cause = _cause(m, m.envelope)
    if cause is None:
        return None
    if isinstance(m.message, CommandRefused):
        return bulks.Answered(cause, storable(mask(m.message.reason)))
    return bulks.Answered(cause)


def _failure(message: RefundFailed) -> bulks.Answered | None:
    """Of a refund of a part, whose id is that of the command; others are tried again."""
    if message.refund_id is None:
        return None
    return bulks.Answered(message.refund_id, storable(mask(message.message)))


# -- the timeline ------------------------------------------------------------------------------


def _of_catalogue(item: Item) -> bool:
    """A product as it is now, again and again: no order's, and of no interest once it is older."""
    return isinstance(item, Incoming) and isinstance(item.message, ProductUpdated)


class Note(NamedTuple):
    """One row of the timeline."""

    topic: str
    partition: int
    offset: int
    message_id: UUID | None
    causation_id: UUID | None
    correlation_id: str
    key: str | None
    type: str | None
    source: str | None
    sent_at: datetime
    summary: str


def note(item: Item, now: datetime) -> Note:
    """What the timeline says of a record; `now` dates one that has no envelope."""
    record, envelope = item.record, item.envelope
    if isinstance(item, Unreadable):
        text = mask(f"unreadable: {item.error}")[:SUMMARY_LENGTH]
    else:
        text = summary(item.message)
    if envelope is None:
        # It is indexed, and a B-tree takes no key of any length.
        where = shortened(record.key or f"{record.topic}-{record.partition}")
        return Note(*_place(record), None, None, where, record.key, None, None, now, storable(text))
    return Note(
        *_place(record),
        envelope.id,
        _cause(item, envelope),
        envelope.correlation_id,
        record.key,
        envelope.type,
        envelope.source,
        _sent_at(envelope),
        storable(text),
    )


def _place(record: Record) -> tuple[str, int, int]:
    return record.topic, record.partition, record.offset


def _cause(item: Item, envelope: Envelope) -> UUID | None:
    if isinstance(item, Incoming) and isinstance(item.message, ParkedMessageChanged):
        # Told by a timer; what led there is the command of a person.
        return item.message.operation_id
    if isinstance(item, Incoming) and isinstance(item.message, MessageParked):
        return item.message.message_id  # what failed is not handed on as a cause
    try:
        return UUID(envelope.causation_id) if envelope.causation_id else None
    except ValueError:
        return None


def _sent_at(envelope: Envelope) -> datetime:
    """As the sender says; nobody checks that on the way, so the id's own time stands in."""
    try:
        return _utc(datetime.fromisoformat(envelope.time))
    except (ValueError, OverflowError):
        return datetime.fromtimestamp(sent_at_ms(envelope.id) / 1000, UTC)


def _utc(at: datetime) -> datetime:
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


# -- the audit ---------------------------------------------------------------------------------


async def _append(work: Work, audited: Sequence[Incoming[Audited]]) -> None:
    """Put records at the ends of their chains, which are locked: a partition that changes hands
    has two writers for a moment."""
    heads = await audit.lock_heads(
        work.db, sorted({(m.record.topic, m.record.partition) for m in audited})
    )
    links = []
    for m in audited:
        chain = (m.record.topic, m.record.partition)
        link, heads[chain] = heads[chain].add(_entry(m, work.now))
        links.append(link)
    await audit.insert_links(work.db, links)
    await audit.save_heads(work.db, heads)


def _entry(m: Incoming[Audited], now: datetime) -> Entry:
    message, record = m.message, m.record
    versioned = message if isinstance(message, OrderAudited | PaymentAudited) else None
    if isinstance(message, OrderWaits):
        action, by = RetryOrder.wire_type, message.requested_by or ""
    else:
        action, by = message.action, message.changed_by
    return Entry(
        topic=record.topic,
        partition=record.partition,
        position=Head().length,  # given by the chain
        offset=record.offset,
        message_id=m.envelope.id,
        type=m.envelope.type,
        subject=message.key,
        version=versioned.version if versioned else None,
        action=storable(action),
        old_status=versioned.old_status if versioned else None,
        new_status=versioned.new_status if versioned else None,
        changed_by=storable(by),
        happened_at=_utc(message.at),
        recorded_at=_utc(now),
        payload=(record.value or b"").decode("utf-8", "replace"),
    )
