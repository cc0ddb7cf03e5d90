"""An answer as a value, so that it can be stored under an idempotency key and given again."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from fastapi import Response

from contracts.order import OrderUpdated
from services.gateway.rules import is_decided, refusal
from services.gateway.views import order_body
from services.kit.auth import Caller
from services.kit.problems import MEDIA_TYPE, problem_body


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: Any
    replayed: bool = False

    @property
    def stored(self) -> str:
        """The body as it is kept."""
        return orjson.dumps(self.body).decode()

    def response(self, headers: Mapping[str, str] | None = None) -> Response:
        sent = dict(headers or {})
        if self.replayed:
            sent["Idempotent-Replayed"] = "true"
        if self.status in {201, 202}:
            sent["Location"] = f"/v1/orders/{self.body['order_id']}"
        media_type = "application/json" if self.status < 400 else MEDIA_TYPE
        return Response(orjson.dumps(self.body), self.status, headers=sent, media_type=media_type)


def accepted(order: OrderUpdated) -> Answer:
    """What was asked is on its way; the order shows how it goes."""
    return Answer(202, {"order_id": str(order.order_id), "status": order.status.value})


def decided(order: OrderUpdated, caller: Caller) -> Answer | None:
    """201 with the order, 400 with why not, or None while neither is known."""
    if not is_decided(order):
        return None
    problems = refusal(order)
    if problems:
        return Answer(400, problem_body(400, problems[0].message, errors=problems))
    return Answer(201, order_body(order, caller))
