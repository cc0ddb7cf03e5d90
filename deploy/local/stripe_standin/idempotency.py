"""Idempotency keys: one key, one effect, one answer.

The answer is kept in the transaction of the effect, so a crash keeps both or neither.
"""

import hashlib
from dataclasses import dataclass

import orjson

from deploy.local.stripe_standin.errors import Json, StripeError, invalid
from deploy.local.stripe_standin.session import Session

_MAX_KEY = 255


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes over the wire."""

    status: int
    body: bytes
    original_request: str | None = None  # the request that a replay repeats the answer of


def check_key(key: str) -> None:
    """Raise StripeError for a key that is too long."""
    if len(key) > _MAX_KEY:
        raise invalid(f"Idempotency keys can be at most {_MAX_KEY} characters long.")


def fingerprint(path: str, params: Json) -> bytes:
    """What must be the same for two requests to be one."""
    return hashlib.sha256(
        path.encode() + b"\0" + orjson.dumps(params, option=orjson.OPT_SORT_KEYS)
    ).digest()


def recall(session: Session, key: str, print_: bytes) -> Answer | None:
    """The answer kept under a key that has not expired.

    Raises StripeError 400 when the key was used for another request.
    """
    row = session.db.execute(
        """
        SELECT fingerprint, status, body, request_id FROM idempotency_keys
        WHERE key = ? AND created > ?
        """,
        (key, session.time - session.settings.standin_idempotency_ttl),
    ).fetchone()
    if not row:
        return None
    kept, status, body, request_id = row
    if kept != print_:
        raise StripeError(
            400,
            "idempotency_error",
            "Keys for idempotent requests can only be used with the same parameters they were "
            f"first used with. Try using a key other than '{key}' if you meant to execute a "
            "different request.",
        )
    return Answer(status, body, request_id)


def remember(session: Session, key: str, print_: bytes, answer: Answer) -> None:
    """Keep an answer, over one that has expired."""
    session.db.execute(
        "INSERT OR REPLACE INTO idempotency_keys VALUES (?, ?, ?, ?, ?, ?)",
        (key, print_, answer.status, answer.body, session.cause.request_id, session.time),
    )


def forget_all(session: Session) -> int:
    """Forget every key; how many there were."""
    return session.db.execute("DELETE FROM idempotency_keys").rowcount


def in_use(key: str) -> StripeError:
    """409: the first request under this key is still running."""
    return StripeError(
        409,
        "idempotency_error",
        "There is currently another in-progress request using this Idempotent Key (that probably "
        "means you submitted twice, and the other request is still going through): "
        f"{key}. Please try again later.",
        code="idempotency_key_in_use",
    )
