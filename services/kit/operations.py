"""What people ask of parked messages by command, and how changes of parked messages are told.

A command is refused, and changes nothing, unless the message still is as the person saw it: so a
command that comes twice, or from two people, is done once. Who asks by the service's own tool
(`services.kit.parked`) changes the same rows, and is told of in the same way.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import asyncpg

from contracts.dead_letters import OperationAnswered, ParkedMessageChanged
from contracts.message import Envelope, InvalidEnvelopeError, Message
from contracts.operations import DiscardParked, ParkedOperation, ReplayParked
from services.kit.db import Connection
from services.kit.messages import Incoming, headers_from_json, reason_of, shortened
from services.kit.work import Handler, Work

_TOLD_AT_ONCE = 500

_WHY_NOT = {
    "waiting": "it waits behind an earlier message of its key: act on that one",
    "replay": "its replay was asked for already",
    "replayed": "it has been handled",
    "discarded": "it has been discarded",
}
_REPLAYABLE = frozenset({"parked"})
_DISCARDABLE = frozenset({"parked", "waiting", "replay"})


def handlers(service: str) -> Mapping[type[Message], Handler]:
    """The handlers of the commands that every service takes."""

    async def replay(work: Work, messages: list[Incoming[ReplayParked]]) -> None:
        rows = await _lock(work.db, messages)
        done = _answer(work, service, messages, rows, _REPLAYABLE)
        if done:
            await _ask_replay(work.db, done)

    async def discard(work: Work, messages: list[Incoming[DiscardParked]]) -> None:
        rows = await _lock(work.db, messages)
        done = _answer(work, service, messages, rows, _DISCARDABLE)
        if done:
            await _discard(work.db, done)

    return {ReplayParked: replay, DiscardParked: discard}


def refusal(
    asked: ParkedOperation, state: str | None, attempts: int, able: Collection[str]
) -> str | None:
    """Why a parked message in this state is left alone, or None; `state` None: there is none."""
    if state is None:
        return f"{asked.service} has no parked message {asked.parked_id}"
    if state not in able:
        return _WHY_NOT[state]
    if attempts != asked.attempts:
        return "it was tried again meanwhile: look at it anew"
    return None


def _answer(
    work: Work,
    service: str,
    messages: Sequence[Incoming[Any]],
    rows: Mapping[int, asyncpg.Record],
    able: frozenset[str],
) -> list[Incoming[Any]]:
    """Answer each command; returns those that are to be done."""
    done = []
    for m in messages:
        asked: ParkedOperation = m.message
        if asked.service != service:
            work.park(m, f"a command for {asked.service} has come to {service}")
            continue
        row = rows.get(asked.parked_id)
        state, attempts = (row["state"], row["attempts"]) if row else (None, 0)
        problem = refusal(asked, state, attempts, able)
        if problem is None:
            done.append(m)
        work.send(
            OperationAnswered(
                service=service,
                parked_id=asked.parked_id,
                source_topic=row["source_topic"] if row else m.record.topic,
                source_partition=row["source_partition"] if row else m.record.partition,
                source_key=_shortened(row["key"]) if row else None,
                operation_id=m.envelope.id,
                problem=problem,
            ),
            m,
        )
    return done


async def announce_changes(work: Work, service: str) -> None:
    """Tell what has changed since it was told last, at most 500 at once."""
    for row in await _take_untold(work.db):
        work.send(
            ParkedMessageChanged(
                service=service,
                parked_id=row["id"],
                source_topic=row["source_topic"],
                source_partition=row["source_partition"],
                source_key=_shortened(row["key"]),
                version=row["version"],
                state=row["state"],
                reason=reason_of(row["reason"]),
                attempts=row["attempts"],
                operation_id=row["operation_id"],
                changed_by=row["closed_by"] or row["asked_by"],
                change_reason=reason_of(row["close_reason"] or row["ask_reason"] or "") or None,
                at=work.now,
            ),
            correlation_id=_correlation_id(row["headers"]),
        )


def _correlation_id(headers: str) -> str | None:
    try:
        return Envelope.parse(headers_from_json(headers)).correlation_id
    except (InvalidEnvelopeError, AttributeError, TypeError, ValueError):
        # No message of ours, or headers edited by SQL: it is announced all the same.
        return None


def _shortened(key: str | None) -> str | None:
    return None if key is None else shortened(key)


async def _lock(db: Connection, messages: Sequence[Incoming[Any]]) -> dict[int, asyncpg.Record]:
    rows = await db.fetch(
        """
        SELECT id, state, attempts, key, source_topic, source_partition
          FROM parked_messages
         WHERE id = ANY($1)
         ORDER BY id
           FOR UPDATE
        """,
        [m.message.parked_id for m in messages],
    )
    return {row["id"]: row for row in rows}


async def _ask_replay(db: Connection, messages: Sequence[Incoming[Any]]) -> None:
    await db.execute(
        """
        UPDATE parked_messages
           SET state = 'replay', operation_id = asked.operation_id,
               asked_by = asked.requested_by, ask_reason = asked.reason
          FROM unnest($1::bigint[], $2::uuid[], $3::text[], $4::text[])
               AS asked (id, operation_id, requested_by, reason)
         WHERE parked_messages.id = asked.id
        """,
        *_columns(messages),
    )


async def _discard(db: Connection, messages: Sequence[Incoming[Any]]) -> None:
    await db.execute(
        """
        UPDATE parked_messages
           SET state = 'discarded', operation_id = asked.operation_id, closed_at = now(),
               closed_by = asked.requested_by, close_reason = asked.reason
          FROM unnest($1::bigint[], $2::uuid[], $3::text[], $4::text[])
               AS asked (id, operation_id, requested_by, reason)
         WHERE parked_messages.id = asked.id
        """,
        *_columns(messages),
    )


def _columns(messages: Sequence[Incoming[Any]]) -> tuple[list[Any], ...]:
    return (
        [m.message.parked_id for m in messages],
        [m.envelope.id for m in messages],
        [m.message.requested_by for m in messages],
        [m.message.reason for m in messages],
    )


async def _take_untold(db: Connection) -> list[asyncpg.Record]:
    return await db.fetch(
        """
        UPDATE parked_messages
           SET announced = version
         WHERE id = ANY(ARRAY(SELECT id FROM parked_messages
                               WHERE announced < version
                               ORDER BY id
                               LIMIT $1
                                 FOR UPDATE SKIP LOCKED))
        RETURNING id, version, state, reason, attempts, headers, key, source_topic,
                  source_partition, operation_id, asked_by, ask_reason, closed_by, close_reason
        """,
        _TOLD_AT_ONCE,
    )
