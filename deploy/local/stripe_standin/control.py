"""The control interface below /_control: what Stripe does not have and tests need.

The package's docstring describes it.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from deploy.local.stripe_standin import charging, deliveries, disputes, events, idempotency, ledger
from deploy.local.stripe_standin.errors import Json, StripeError, invalid
from deploy.local.stripe_standin.faults import Fault, Kind
from deploy.local.stripe_standin.operations import OPERATIONS
from deploy.local.stripe_standin.session import Session
from deploy.local.stripe_standin.standin import Standin

_FAULTS = TypeAdapter(list[Fault])
_OPERATION_NAMES = tuple(operation.name for operation in OPERATIONS)


class _Authentication(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    success: bool = True


class _Dispute(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    reason: str = "fraudulent"
    amount: int | None = Field(None, gt=0)
    inquiry: bool = False


class _DisputeStatus(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    status: str


Control = Callable[[Standin, Request, Any], Awaitable[Any]]


def routes(standin: Standin) -> list[Route]:
    """The routes below /_control."""
    table: list[tuple[str, str, Control]] = [
        ("GET", "/faults", _show_faults),
        ("POST", "/faults", _add_faults),
        ("DELETE", "/faults", _clear_faults),
        ("POST", "/idempotency_keys/forget", _forget_keys),
        ("POST", "/webhooks/release", _release),
        ("POST", "/events/{id}/resend", _resend),
        ("POST", "/payment_intents/{id}/authenticate", _authenticate),
        ("POST", "/payment_intents/{id}/succeed", _succeed),
        ("POST", "/payment_intents/{id}/fail", _fail),
        ("POST", "/payment_intents/{id}/dispute", _dispute),
        ("POST", "/charges/{id}/dispute", _dispute),
        ("POST", "/disputes/{id}", _move_dispute),
        ("GET", "/ledger", _ledger),
        ("GET", "/requests", _requests),
    ]
    return [
        Route(path, _endpoint(standin, control), methods=[method])
        for method, path, control in table
    ]


def _endpoint(standin: Standin, control: Control) -> Callable[[Request], Awaitable[Response]]:
    async def respond(request: Request) -> Response:
        status = 200
        try:
            answer = await control(standin, request, await _body(request))
        except StripeError as error:
            status, answer = error.status, {"error": error.error}
        except ValidationError as error:
            status, answer = 400, {"error": {"message": str(error)}}
        return Response(orjson.dumps(answer), status, media_type="application/json")

    return respond


async def _body(request: Request) -> Any:
    raw = await request.body()
    if not raw:
        return {}
    # A web page can post a form or text anywhere, but JSON only where it is allowed to.
    if not request.headers.get("content-type", "").startswith("application/json"):
        raise invalid("Send JSON, with Content-Type: application/json.")
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise invalid(f"The body is not JSON: {error}") from error


async def _show_faults(standin: Standin, _: Request, __: Any) -> Any:
    return {"faults": [fault.model_dump(mode="json") for fault in standin.faults.listed()]}


async def _add_faults(standin: Standin, request: Request, body: Any) -> Any:
    faults = _FAULTS.validate_python(body if isinstance(body, list) else [body])
    for fault in faults:
        subjects = events.TYPES if fault.kind.startswith("webhook_") else _OPERATION_NAMES
        if fault.operation and fault.operation not in subjects:
            raise invalid(f"{fault.operation} is none of {', '.join(subjects)}.")
    standin.faults.add(faults)
    return await _show_faults(standin, request, body)


async def _clear_faults(standin: Standin, request: Request, body: Any) -> Any:
    standin.faults.clear()
    return await _show_faults(standin, request, body)


async def _forget_keys(standin: Standin, _: Request, __: Any) -> Any:
    return {"forgotten": await standin.run(idempotency.forget_all)}


async def _release(standin: Standin, _: Request, __: Any) -> Any:
    standin.faults.clear(Kind.WEBHOOK_HELD)
    return {"released": await standin.run(deliveries.release)}


async def _resend(standin: Standin, request: Request, _: Any) -> Any:
    event_id = request.path_params["id"]
    return {"endpoints": await standin.run(lambda session: deliveries.resend(session, event_id))}


async def _authenticate(standin: Standin, request: Request, body: Any) -> Any:
    asked = _Authentication.model_validate(body)

    def work(session: Session, intent: Json) -> None:
        _require(intent, "requires_action")
        charging.authenticate(session, intent, success=asked.success)

    return await _on_intent(standin, request, work)


async def _succeed(standin: Standin, request: Request, _: Any) -> Any:
    def work(session: Session, intent: Json) -> None:
        if intent["status"] == "succeeded":
            raise invalid("This PaymentIntent has succeeded already.")
        charging.succeed(session, intent)

    return await _on_intent(standin, request, work)


async def _fail(standin: Standin, request: Request, _: Any) -> Any:
    def work(session: Session, intent: Json) -> None:
        _require(intent, "processing")
        charging.fail(session, intent)

    return await _on_intent(standin, request, work)


async def _dispute(standin: Standin, request: Request, body: Any) -> Any:
    asked = _Dispute.model_validate(body)

    def work(session: Session) -> Json:
        id_ = request.path_params["id"]
        if "/payment_intents/" in request.url.path:
            id_ = session.get("payment_intent", id_)["latest_charge"] or ""
        charge = session.get("charge", id_)
        return disputes.open_(session, charge, asked.reason, asked.amount, inquiry=asked.inquiry)

    return await standin.run(work)


async def _move_dispute(standin: Standin, request: Request, body: Any) -> Any:
    asked = _DisputeStatus.model_validate(body)

    def work(session: Session) -> Json:
        dispute = session.get("dispute", request.path_params["id"])
        return disputes.move(session, dispute, asked.status)

    return await standin.run(work)


async def _ledger(standin: Standin, request: Request, _: Any) -> Any:
    query = request.query_params
    return await standin.run(
        lambda session: ledger.page(session, query.get("order_id"), query.get("starting_after"))
    )


async def _requests(standin: Standin, _: Request, __: Any) -> Any:
    calls: dict[str, dict[str, int]] = {}
    for (operation, outcome), count in sorted(standin.calls.items()):
        calls.setdefault(operation, {})[outcome] = count
    attempts = standin.dispatcher.attempts
    webhooks = {
        "delivered": attempts["delivered"],
        "failed_attempts": attempts["failed"],
        **await standin.run(deliveries.counts),
    }
    return {"operations": calls, "webhooks": webhooks}


async def _on_intent(
    standin: Standin, request: Request, change: Callable[[Session, Json], None]
) -> Json:
    def work(session: Session) -> Json:
        intent = session.get("payment_intent", request.path_params["id"])
        change(session, intent)
        return intent

    return await standin.run(work)


def _require(intent: Json, status: str) -> None:
    if intent["status"] != status:
        raise invalid(f"The PaymentIntent has a status of {intent['status']}, not {status}.")
