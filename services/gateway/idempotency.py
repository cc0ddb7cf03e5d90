"""One effect and one answer per `Idempotency-Key`.

The key is taken in the transaction of the effect, together with the id of what was made (the
order, or the command). The answer is stored with it: at once when it is known, later when the
caller waits for a decision. From then on the same key and body get that stored answer, also when
it was "202, not decided yet": what has happened since is at its `Location`.

A process that dies between the two leaves a key without an answer. Once the first request cannot
be running any more, a repeat takes its place: it waits for the same order, and never makes a
second one.
"""

import hashlib
import re
from dataclasses import dataclass
from datetime import timedelta
from math import ceil
from uuid import UUID

import orjson
from pydantic import BaseModel

from contracts.order import OrderUpdated
from services.gateway.answers import Answer
from services.gateway.store import keys
from services.kit.db import Pool
from services.kit.problems import ApiProblem
from services.kit.work import Work

_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_GRACE = timedelta(seconds=5)
"""A request may take this much longer than it waits before it counts as dead."""


@dataclass(frozen=True, slots=True)
class KeyedRequest:
    """A request under a key; `request_hash` tells whether another one asks for the same."""

    customer_id: str
    key: str
    request_hash: bytes
    running_for: timedelta

    @classmethod
    def of(
        cls, customer_id: str, key: str, operation: str, body: BaseModel, *, wait: float = 0
    ) -> "KeyedRequest":
        """`wait` is how long, in seconds, the request may take until it is answered.

        Raises:
            ApiProblem: 400 when the key is not one.
        """
        if not _KEY.fullmatch(key):
            raise ApiProblem(400, "Idempotency-Key must be 1 to 255 visible ASCII characters")
        return cls(
            customer_id,
            key,
            fingerprint(operation, body),
            running_for=timedelta(seconds=wait) + _GRACE,
        )


def fingerprint(operation: str, body: BaseModel) -> bytes:
    """The same for every spelling of the same request: spaces, order of fields, defaults."""
    canonical = orjson.dumps([operation, body.model_dump(mode="json")], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(canonical).digest()


async def claim(
    work: Work,
    request: KeyedRequest,
    subject_id: UUID,
    *,
    answer: Answer | None = None,
    order: OrderUpdated | None = None,
) -> Answer | UUID | None:
    """Take the key for `subject_id`, with the answer if it is known already.

    None: it is taken, go on. An answer: the one that was given before. An id: what the first
    request made before it died unanswered; see what became of it.

    Raises:
        ApiProblem: 422 when the key was used for something else, 409 while the first request
            is still running.
    """
    fresh = await keys.claim_key(
        work.db,
        customer_id=request.customer_id,
        key=request.key,
        request_hash=request.request_hash,
        subject_id=subject_id,
        running_for=request.running_for,
        status_code=answer.status if answer else None,
        response=answer.stored if answer else None,
        order_document=order.model_dump_json() if order else None,
    )
    return None if fresh else await _repeat(work, request)


async def _repeat(work: Work, request: KeyedRequest) -> Answer | UUID:
    known = await keys.known_key(work.db, request.customer_id, request.key)
    if known is None:  # it expired and was cleared away between two statements
        raise _still_running(1)
    if known.request_hash != request.request_hash:
        raise ApiProblem(422, "This Idempotency-Key was used for a different request")
    if known.status_code is not None and known.response is not None:
        return Answer(known.status_code, orjson.loads(known.response), replayed=True)
    if known.running_seconds > 0:
        raise _still_running(ceil(known.running_seconds))
    await keys.resume_key(work.db, request.customer_id, request.key, request.running_for)
    return known.subject_id


def _still_running(seconds: int) -> ApiProblem:
    return ApiProblem(
        409,
        "The first request with this Idempotency-Key is still running",
        headers={"Retry-After": str(seconds)},
    )


async def remember(pool: Pool, request: KeyedRequest, subject_id: UUID, answer: Answer) -> Answer:
    """Store the answer; returns the one that stands, should another have been quicker."""
    async with pool.acquire() as db:
        stands = await keys.store_answer(
            db, request.customer_id, request.key, subject_id, answer.status, answer.stored
        )
    return Answer(stands[0], orjson.loads(stands[1])) if stands else answer
