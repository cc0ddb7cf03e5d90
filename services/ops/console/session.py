"""Who looks at the console: a token in a cookie, and the proof that a form is one of ours.

The cookie holds a secret of this sign-in and the token; of somebody whom a proxy signs in
(`proxies.py`) only the secret, as the token comes with each request. A form carries what only the
secret gives (`csrf`), so a page of somebody else, who sees neither cookie nor page, can post
nothing in our name. There is a cookie before the token is given, too: nobody can be signed in as
another.
"""

import hmac
import secrets
from dataclasses import dataclass
from typing import Annotated, Self
from urllib.parse import parse_qs, unquote

from fastapi import Depends, Request, Response

from services.kit.auth import Caller, Tokens
from services.kit.problems import ApiProblem
from services.ops.access import Task, demand
from services.ops.console.proxies import Proxies

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_MOST_FIELDS = 300
LONGEST_TOKEN = 3500
"""Browsers keep cookies of 4,096 bytes, name and attributes included."""

Fields = dict[str, list[str]]


class SignInFirst(Exception):  # noqa: N818  # an answer more than an error
    """Somebody without a usable token; `why` is for people, empty when they never had one."""

    def __init__(self, why: str = "") -> None:
        super().__init__(why)
        self.why = why


@dataclass(frozen=True, slots=True)
class Session:
    """One sign-in of one browser; `token` is empty before, and where a proxy brings it."""

    secret: str
    token: str = ""

    @classmethod
    def begin(cls, token: str = "") -> Self:
        return cls(secrets.token_urlsafe(32), token)

    @classmethod
    def of(cls, request: Request) -> Self | None:
        secret, _, token = request.cookies.get(_cookie_name(request), "").partition(".")
        return cls(secret, token) if secret else None

    @property
    def csrf(self) -> str:
        """What a form of this session carries."""
        return hmac.new(self.secret.encode(), b"form of the console", "sha256").hexdigest()

    def keep(self, request: Request, response: Response) -> None:
        """In the browser, until it is closed: no script reads it, no other site sends it."""
        response.set_cookie(
            _cookie_name(request),
            f"{self.secret}.{self.token}",
            httponly=True,
            samesite="strict",
            secure=not _is_loopback(request),
            path="/",
        )


def _is_loopback(request: Request) -> bool:
    return request.url.hostname in _LOOPBACK


def _cookie_name(request: Request) -> str:
    # Browsers let nobody but this very host set a cookie of that prefix, and that over HTTPS only.
    return "ops-console" if _is_loopback(request) else "__Host-ops-console"


def is_followed_link(request: Request) -> bool:
    """Whether somebody came by a link of another site, an alert's perhaps: the browser has kept the
    cookie back then, and sends it when our own page asks once more."""
    return request.headers.get("Sec-Fetch-Site") == "cross-site" and Session.of(request) is None


def forget(request: Request, response: Response) -> None:
    """Sign out: the browser's copy of the token is gone."""
    response.delete_cookie(
        _cookie_name(request),
        httponly=True,
        samesite="strict",
        secure=not _is_loopback(request),
        path="/",
    )


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody signed in."""

    caller: Caller
    session: Session


@dataclass(frozen=True, slots=True)
class Form:
    """What was posted, by whom, from one of our pages."""

    visitor: Visitor
    fields: Fields

    def text(self, name: str) -> str:
        return self.fields.get(name, [""])[0].strip()


async def visitor_of(request: Request) -> Visitor:
    """Raises SignInFirst without a usable token, ApiProblem (503) when tokens cannot be checked."""
    session = Session.of(request)
    if session is None:
        raise SignInFirst
    if "\0" in unquote(str(request.url)):
        raise ApiProblem(404, "There is nothing at this address")  # PostgreSQL knows no such text
    try:
        caller = await _caller(request, session)
    except ApiProblem as problem:
        if problem.status != 401:
            raise
        raise SignInFirst(str(problem)) from None
    if caller is None:
        raise SignInFirst
    return Visitor(caller, session)


async def _caller(request: Request, session: Session) -> Caller | None:
    """By the token that somebody signed in with, or else by the header of a proxy."""
    if session.token:
        tokens: Tokens = request.app.state.tokens
        return await tokens.caller(session.token)
    proxies: Proxies = request.app.state.proxies
    return await proxies.caller(request)


async def checked_fields(request: Request) -> Fields:
    """Of a form that was ours. Raises ApiProblem (403)."""
    session = Session.of(request)
    try:
        body = (await request.body()).decode("utf-8", "replace")
        parsed = parse_qs(body, keep_blank_values=True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise ApiProblem(400, "The form has too many fields") from None
    fields = {name: [each.replace("\0", "") for each in given] for name, given in parsed.items()}
    given = fields.get("csrf", [""])[0]
    if session is None or not hmac.compare_digest(given.encode(), session.csrf.encode()):
        raise ApiProblem(
            403,
            "This form does not belong to your session: go back, load the page again, and repeat. "
            "If that does not help, the browser kept no cookie: use https (http works on "
            "127.0.0.1 only)",
        )
    return fields


async def _reader(request: Request) -> Visitor:
    visitor = await visitor_of(request)
    demand(visitor.caller, Task.LOOK)
    return visitor


async def _form(request: Request) -> Form:
    visitor = await visitor_of(request)
    return Form(visitor, await checked_fields(request))


@dataclass(frozen=True, slots=True)
class FormTo:
    """The dependency of a route that changes something: its form, whose sender may do this.

    form: Annotated[Form, Depends(FormTo(Task.REPLAY))]
    """

    task: Task

    async def __call__(self, form: Annotated[Form, Depends(_form)]) -> Form:
        demand(form.visitor.caller, self.task)
        return form


Reader = Annotated[Visitor, Depends(_reader)]
"""The parameter of a page that shows something."""
AnyForm = Annotated[Form, Depends(_form)]
"""Of a form that everybody who is signed in may post."""
