"""Signing in with a token, and out again."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from services.kit.auth import Tokens
from services.kit.problems import ApiProblem
from services.ops.access import Task, can, roles_for
from services.ops.console.pages import page
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


@router.get("/sign-in")
async def ask(request: Request, next: str = "", why: str = "") -> Response:  # noqa: A002
    """The form; a session begins here, before there is a token, so that the form can be ours."""
    if is_followed_link(request):  # a new session would end the one that is kept back
        return page(request, None, "once_more.html")
    return _form(request, _inside(next), notice=_WHY.get(why, ""))


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
    if not can(caller, Task.LOOK):
        why_not = f"{caller.customer_id} has none of the roles: ask for {roles_for(Task.LOOK)}."
        return _form(request, target, problem=why_not)
    response = RedirectResponse(target, 303)
    Session.begin(token).keep(request, response)
    return response


@router.post("/sign-out")
async def sign_out(request: Request, _form: AnyForm) -> Response:
    response = RedirectResponse("/console/sign-in", 303)
    forget(request, response)
    return response


def _form(request: Request, target: str, *, notice: str = "", problem: str = "") -> Response:
    known = Session.of(request)
    session = known or Session.begin()
    response = page(
        request,
        None,
        "sign_in.html",
        status=401 if problem else 200,
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
