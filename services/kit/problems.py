"""Errors as `application/problem+json` (RFC 9457), whoever raised them.

Everything that is not a success has one shape: `title`, `status`, `detail`, `errors`. What the
caller sent is never repeated in it: bodies hold personal data.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any
from uuid import UUID

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from contracts.order import Problem
from services.kit.errors import INFRASTRUCTURE, is_infrastructure
from services.kit.telemetry import log

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = 2
"""How long a caller should leave a database or broker to come back."""


class ProblemDocument(BaseModel):
    """Any answer that is not a success."""

    type: str = "about:blank"
    title: str = Field(examples=["Conflict"])
    status: int = Field(examples=[409])
    detail: str
    errors: list[Problem] = Field(default_factory=list)
    allowed: list[str] | None = Field(
        default=None, description="of a refused status change: the statuses that are possible"
    )


class ApiProblem(Exception):  # noqa: N818  # an answer more than an error
    """Raised anywhere below a route to answer with a problem document."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        errors: Sequence[Problem] = (),
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.headers = dict(headers or {})
        self.body = problem_body(status, detail, errors=errors, **members)


def problem_body(
    status: int, detail: str, *, errors: Sequence[Problem] = (), **members: Any
) -> dict[str, Any]:
    """The document as JSON values; `members` are extensions such as `allowed`."""
    return {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "errors": [error.model_dump(mode="json") for error in errors],
        **members,
    }


def unavailable(detail: str) -> ApiProblem:
    """503, and when to come back."""
    return ApiProblem(503, detail, headers={"Retry-After": str(RETRY_AFTER_SECONDS)})


def problem_response(body: dict[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    return Response(
        orjson.dumps(body), body["status"], headers=dict(headers or {}), media_type=MEDIA_TYPE
    )


def install(app: FastAPI) -> None:
    """Make `app` answer every exception with a problem document."""
    app.add_exception_handler(ApiProblem, _api_problem)
    app.add_exception_handler(HTTPException, _http_exception)
    app.add_exception_handler(RequestValidationError, _invalid_request)
    for infrastructure in INFRASTRUCTURE:
        app.add_exception_handler(infrastructure, _infrastructure)
    app.add_exception_handler(Exception, _unexpected)


async def _api_problem(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiProblem)  # noqa: S101  # Starlette's type is wider
    return problem_response(error.body, error.headers)


async def _http_exception(_request: Request, error: Exception) -> Response:
    """What the framework itself refuses: unknown paths, wrong methods, bodies it cannot read."""
    assert isinstance(error, HTTPException)  # noqa: S101
    return problem_response(problem_body(error.status_code, str(error.detail)), error.headers)


async def _invalid_request(_request: Request, error: Exception) -> Response:
    """404 when the path names nothing, 400 for what is no JSON, 422 for all else."""
    assert isinstance(error, RequestValidationError)  # noqa: S101
    found = error.errors()
    if any(item["loc"][0] == "path" for item in found):
        return problem_response(problem_body(404, "There is nothing at this address"))
    if found[0]["type"] == "json_invalid":
        at = found[0]["loc"][-1]
        return problem_response(problem_body(400, f"The body is not valid JSON at position {at}"))
    problems = [_problem(item, error.body) for item in found]
    return problem_response(problem_body(422, problems[0].message, errors=problems))


def _problem(item: dict[str, Any], body: Any) -> Problem:
    loc = item["loc"]
    where = ".".join(str(part) for part in loc[1:])
    message = item["msg"].removeprefix("Value error, ")
    return Problem(
        code=item["type"],
        message=f"{where}: {message}" if where else message,
        product_id=_product_at(loc, body),
    )


def _product_at(loc: Sequence[str | int], body: Any) -> UUID | None:
    """The product of the cart line that a validation error is about."""
    if len(loc) < 3 or loc[1] != "items":
        return None
    try:
        return UUID(body["items"][loc[2]]["product_id"])
    except (KeyError, TypeError, ValueError, IndexError, AttributeError):
        return None


async def _infrastructure(request: Request, error: Exception) -> Response:
    if not is_infrastructure(error):
        return await _unexpected(request, error)
    log.warning("request refused, infrastructure is away", error=repr(error))
    refused = unavailable("The service cannot do this right now; please try again")
    return problem_response(refused.body, refused.headers)


async def _unexpected(_request: Request, _error: Exception) -> Response:
    """The server logs the traceback; the caller learns nothing of the inside."""
    return problem_response(problem_body(500, "Something went wrong on our side"))
