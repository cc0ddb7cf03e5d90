"""Stripe's API over HTTP: one way in for every operation.

key -> parameters -> faults -> one transaction (recall the answer, or operate and remember it)
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from deploy.local.stripe_standin import expand, idempotency, keys
from deploy.local.stripe_standin.errors import (
    Json,
    StripeError,
    internal,
    invalid,
    rate_limited,
)
from deploy.local.stripe_standin.faults import Kind
from deploy.local.stripe_standin.forms import decode
from deploy.local.stripe_standin.idempotency import Answer
from deploy.local.stripe_standin.operations import OPERATIONS, Operation
from deploy.local.stripe_standin.session import API_VERSION, Cause, Session
from deploy.local.stripe_standin.standin import Standin

log = logging.getLogger(__name__)

# Where the server's protocol puts the function that breaks the connection.
BREAK_CONNECTION = "stripe_standin.break_connection"


@dataclass(frozen=True, slots=True)
class _Call:
    """One request, understood."""

    operation: Operation
    id_: str
    params: Json
    publishable: bool
    key: str | None
    fingerprint: bytes
    faults: dict[Kind, float]


def routes(standin: Standin) -> list[Route]:
    """The routes below /v1."""
    return [
        Route(operation.path, _endpoint(standin, operation), methods=[operation.method])
        for operation in OPERATIONS
    ] + [Route("/{rest:path}", _unknown, methods=["GET", "POST", "DELETE"])]


def _endpoint(standin: Standin, operation: Operation) -> Callable[[Request], Awaitable[Response]]:
    async def respond(request: Request) -> Response:
        cause = Cause(standin.new_request_id(), request.headers.get("idempotency-key"))
        faults = standin.faults.strike(operation.name)
        try:
            call = await _understand(request, operation, cause.idempotency_key, faults)
            answer = await _answer(standin, call, cause)
        except StripeError as error:
            answer = _failure(error)
        except Exception:
            log.exception("%s failed", operation.name)
            answer = _failure(internal())
        outcome = "replayed" if answer.original_request else str(answer.status)
        standin.calls[operation.name, outcome] += 1
        if Kind.LOST_ANSWER in faults:
            return _NoResponse()
        return _response(request, answer, cause.request_id or "")

    return respond


async def _unknown(request: Request) -> Response:
    error = StripeError(
        404,
        "invalid_request_error",
        f"Unrecognized request URL ({request.method}: {request.url.path}). The stand-in has the "
        "operations that are listed in stripe_standin/operations.py.",
    )
    return _response(request, _failure(error), "")


async def _understand(
    request: Request, operation: Operation, key: str | None, faults: dict[Kind, float]
) -> _Call:
    publishable = keys.is_publishable(request.headers.get("authorization", ""))
    if publishable and not operation.publishable:
        raise keys.refuse_publishable()
    posted = operation.method == "POST"
    encoded = (await request.body()) if posted else request.url.query.encode()
    try:
        params = decode(encoded.decode())
    except UnicodeDecodeError as error:
        raise invalid("The form is not UTF-8.") from error
    if publishable and "client_secret" not in params:
        raise invalid(
            "Missing required param: client_secret.",
            code="parameter_missing",
            param="client_secret",
        )
    key = key if posted else None
    if key:
        idempotency.check_key(key)
    return _Call(
        operation=operation,
        id_=request.path_params.get("id", ""),
        params=params,
        publishable=publishable,
        key=key,
        fingerprint=idempotency.fingerprint(request.url.path, params) if key else b"",
        faults=faults,
    )


async def _answer(standin: Standin, call: _Call, cause: Cause) -> Answer:
    if call.key is None:
        return await _carry_out(standin, call, cause)
    if call.key in standin.keys_in_use:
        raise idempotency.in_use(call.key)
    standin.keys_in_use.add(call.key)
    try:
        return await _carry_out(standin, call, cause)
    finally:
        standin.keys_in_use.discard(call.key)


async def _carry_out(standin: Standin, call: _Call, cause: Cause) -> Answer:
    await standin.sleep(call.faults.get(Kind.DELAY, 0.0))
    if Kind.RATE_LIMIT in call.faults:
        raise rate_limited()
    if Kind.ERROR_BEFORE in call.faults:
        raise internal()
    return await standin.run(lambda session: _once(session, call), cause)


def _once(session: Session, call: _Call) -> Answer:
    """The answer kept under the key, else a new one; in one transaction with its effect."""
    if call.key and (kept := idempotency.recall(session, call.key, call.fingerprint)):
        return kept
    answer, saved = _operate(session, call)
    if call.key and saved:
        idempotency.remember(session, call.key, call.fingerprint, answer)
    return answer


def _operate(session: Session, call: _Call) -> tuple[Answer, bool]:
    """The answer, and whether a retry gets it again."""
    operation = call.operation
    try:
        if Kind.STORED_ERROR in call.faults:
            raise internal(saved=True)
        if Kind.NOT_REFUNDABLE in call.faults and operation.name == "create_refund":
            raise invalid(
                "This charge cannot be refunded.", code="charge_not_refundable", saved=True
            )
        wanted = expand.paths(call.params, operation.returns, listing=operation.listing)
        body = operation.handler(session, call.id_, call.params)
        expand.expand(session, body, wanted)
    except StripeError as error:
        if call.publishable and "payment_intent" in error.error:
            error.error["payment_intent"] = keys.public(error.error["payment_intent"])
        answer, saved = _failure(error), error.saved
    else:
        answer = Answer(200, orjson.dumps(keys.public(body) if call.publishable else body))
        saved = True
    if Kind.ERROR_AFTER in call.faults:
        return _failure(internal()), True
    return answer, saved


def _failure(error: StripeError) -> Answer:
    return Answer(error.status, orjson.dumps({"error": error.error}))


def _response(request: Request, answer: Answer, request_id: str) -> Response:
    headers = {
        "Request-Id": request_id,
        "Stripe-Version": request.headers.get("stripe-version", API_VERSION),
    }
    if key := request.headers.get("idempotency-key"):
        headers["Idempotency-Key"] = key
    if answer.original_request:
        headers["Idempotent-Replayed"] = "true"
        headers["Original-Request"] = answer.original_request
    return Response(answer.body, answer.status, headers, "application/json")


class _NoResponse(Response):
    """Breaks the connection instead of answering."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[BREAK_CONNECTION]()
        while (await receive())["type"] != "http.disconnect":
            pass
