"""The ledger: what really happened to the money, for tests to compare with what they expect."""

import orjson

from deploy.local.stripe_standin.errors import Json, missing
from deploy.local.stripe_standin.session import Session

# A page is read in one go while requests wait; this many take some 50 ms.
_PAGE = 1000

_ENTRY = """
SELECT json_object(
    'id', i.id,
    'order_id', i.order_id,
    'status', i.status,
    'amount', json_extract(i.body, '$.amount'),
    'currency', json_extract(i.body, '$.currency'),
    'amount_received', json_extract(i.body, '$.amount_received'),
    'amount_refunded', (
        SELECT coalesce(sum(json_extract(r.body, '$.amount')), 0) FROM objects r
        WHERE r.intent = i.id AND r.kind = 'refund' AND r.status IN ('succeeded', 'pending')),
    'successful_charges', (
        SELECT count(*) FROM objects c
        WHERE c.intent = i.id AND c.kind = 'charge' AND json_extract(c.body, '$.captured')),
    'refunds', (
        SELECT json_group_array(json_object(
            'id', r.id, 'amount', json_extract(r.body, '$.amount'), 'status', r.status))
        FROM objects r WHERE r.intent = i.id AND r.kind = 'refund'),
    'disputes', (
        SELECT json_group_array(json_object(
            'id', d.id, 'status', d.status, 'amount', json_extract(d.body, '$.amount')))
        FROM objects d WHERE d.intent = i.id AND d.kind = 'dispute'))
FROM objects i
"""
_OF_ORDER = _ENTRY + "WHERE i.order_id = ? AND i.kind = 'payment_intent'"
_OF_ALL = _ENTRY + "WHERE i.kind = 'payment_intent'"
_PART = " AND (i.created, i.seq) > (?, ?) ORDER BY i.created, i.seq LIMIT ?"


def page(session: Session, order_id: str | None, starting_after: str | None) -> Json:
    """Up to 1,000 payment intents, oldest first: `{"data": [...], "has_more": bool}`.

    Amounts are in minor units; refunds that failed do not count. Raises StripeError for a
    cursor that does not exist.
    """
    after = (0, 0)
    if starting_after:
        row = session.db.execute(
            "SELECT created, seq FROM objects WHERE id = ?", (starting_after,)
        ).fetchone()
        if not row:
            raise missing("payment_intent", starting_after, "starting_after")
        after = row
    query, arguments = (_OF_ORDER, [order_id]) if order_id else (_OF_ALL, [])
    found: list[tuple[str]] = session.db.execute(
        query + _PART, [*arguments, *after, _PAGE + 1]
    ).fetchall()
    return {
        "data": [orjson.loads(entry) for (entry,) in found[:_PAGE]],
        "has_more": len(found) > _PAGE,
    }
