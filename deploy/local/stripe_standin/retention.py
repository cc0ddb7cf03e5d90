"""What is forgotten: the oldest finished intents with all that belongs to them, the oldest
events, and idempotency keys past their time. Open intents and events that are still owed stay."""

from deploy.local.stripe_standin.session import Session

_EVENTS_PER_INTENT = 5
# One batch holds up the requests behind it for some milliseconds.
_BATCH = 200


def trim(session: Session) -> bool:
    """Forget one batch; True when there may be more to forget."""
    keep = session.settings.standin_keep
    removed = [
        _trim_intents(session, keep),
        _trim_events(session, keep * _EVENTS_PER_INTENT),
        _trim_keys(session),
    ]
    return _BATCH in removed


def _trim_intents(session: Session, keep: int) -> int:
    """Finished intents beyond the newest `keep`, and every object that belongs to one."""
    intents = session.db.execute(
        """
        SELECT id FROM objects INDEXED BY finished_intents
        WHERE kind = 'payment_intent' AND status IN ('succeeded', 'canceled')
          AND seq <= (SELECT seq FROM objects INDEXED BY finished_intents
                      WHERE kind = 'payment_intent' AND status IN ('succeeded', 'canceled')
                      ORDER BY seq DESC LIMIT 1 OFFSET ?)
        ORDER BY seq LIMIT ?
        """,
        (keep, _BATCH),
    ).fetchall()
    session.db.executemany("DELETE FROM objects WHERE intent = ?", intents)
    session.db.executemany("DELETE FROM objects WHERE id = ?", intents)
    return len(intents)


def _trim_events(session: Session, keep: int) -> int:
    events = session.db.execute(
        """
        SELECT seq FROM events
        WHERE seq <= (SELECT max(seq) FROM events) - ?  -- numbers have no gaps but at the old end
          AND NOT EXISTS (SELECT 1 FROM deliveries
                          WHERE event = events.seq AND state IN ('due', 'sending', 'held'))
        ORDER BY seq LIMIT ?
        """,
        (keep, _BATCH),
    ).fetchall()
    session.db.executemany("DELETE FROM deliveries WHERE event = ?", events)
    session.db.executemany("DELETE FROM events WHERE seq = ?", events)
    return len(events)


def _trim_keys(session: Session) -> int:
    return session.db.execute(
        """
        DELETE FROM idempotency_keys WHERE key IN (
            SELECT key FROM idempotency_keys WHERE created <= ? ORDER BY created LIMIT ?)
        """,
        (session.time - session.settings.standin_idempotency_ttl, _BATCH),
    ).rowcount
