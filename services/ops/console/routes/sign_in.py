"""Signing in with a token, and out again."""

from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from services.kit.auth import Caller, Tokens
from services.kit.problems import ApiProblem
from services.ops.access import Task, can, roles_for
from services.ops.console.pages import page
from services.ops.console.proxies import Proxies
from services.ops.console.session import (
    LONGEST_TOKEN,
    AnyForm,
    Session,
    checked_fields,
    forget,
    is_followed_link,
)

router = APIRouter()

_WHY = {"expired": "Your token is not valid any more. Sign in with a new one."}
_OUT_BY_PROXY = (
    "You are signed out here. The proxy that signed you in still knows you: sign out there, too."
)
_NO_COOKIE = "The browser keeps no cookie: use https (http works on 127.0.0.1 only)."


@router.get("/sign-in")
async def ask(request: Request, next: str = "", why: str = "") -> Response:  # noqa: A002
    """The form; a session begins here, before there is a token, so that the form can be ours."""
    if is_followed_link(request):  # a new session would end the one that is kept back
        return page(request, None, "once_more.html")
    target = _inside(next)
    proxies: Proxies = request.app.state.proxies
    try:
        caller = await proxies.caller(request)
    except ApiProblem as problem:
        return _form(request, target, problem=f"{problem}.", status=problem.status)
    if caller is None:
        return _form(request, target, notice=_WHY.get(why, ""))
    return _by_proxy(request, caller, target, why)


@router.post("/sign-in")
async def sign_in(request: Request) -> Response:
    fields = await checked_fields(request)
    token = fields.get("token", [""])[0].strip()
    target = _inside(fields.get("next", [""])[0])
    if len(token) > LONGEST_TOKEN:
        too_long = f"The token has more than {LONGEST_TOKEN} characters: no cookie can hold it"
        return _form(request, target, problem=too_long)
    tokens: Tokens = request.app.state.tokens
    try:
        caller = await tokens.caller(token)
    except ApiProblem as problem:
        if problem.status != 401:
            raise
        return _form(request, target, problem=f"{problem}." if token else "Paste a token first.")
    if why_not := _without_role(caller):
        return _form(request, target, problem=why_not)
    response = RedirectResponse(target, 303)
    Session.begin(token).keep(request, response)
    return response


@router.post("/sign-out")
async def sign_out(request: Request, form: AnyForm) -> Response:
    by_proxy = "" if form.visitor.session.token else "?why=out"
    response = RedirectResponse(f"/console/sign-in{by_proxy}", 303)
    forget(request, response)
    return response


def _by_proxy(request: Request, caller: Caller, target: str, why: str) -> Response:
    """Who needs no token is led on, once the browser has kept the cookie that forms belong to."""
    if problem := _without_role(caller):
        return _form(request, target, problem=problem)
    if why == "out":
        return _form(request, target, notice=_OUT_BY_PROXY)
    known = Session.of(request)
    if known is None and why == "cookie":
        return _form(request, target, problem=_NO_COOKIE)
    if known is not None and not known.token:
        return RedirectResponse(target, 303)
    again = urlencode({"why": "cookie", "next": target})
    response = RedirectResponse(f"/console/sign-in?{again}", 303)
    Session.begin().keep(request, response)
    return response


def _without_role(caller: Caller) -> str:
    """What to say to somebody who may not even look."""
    if can(caller, Task.LOOK):
        return ""
    return f"{caller.customer_id} has none of the roles: ask for {roles_for(Task.LOOK)}."


def _form(
    request: Request, target: str, *, notice: str = "", problem: str = "", status: int = 401
) -> Response:
    known = Session.of(request)
    session = known or Session.begin()
    response = page(
        request,
        None,
        "sign_in.html",
        status=status if problem else 200,
        target=target,
        notice=notice,
        problem=problem,
        form_csrf=session.csrf,
    )
    if known is None:
        session.keep(request, response)
    return response


def _inside(target: str) -> str:
    """A page of the console to go to afterwards: nobody is led elsewhere by a link to sign in."""
    return target if target.startswith("/console/") and "\\" not in target else "/console/"
