"""Templates, and what every page is told."""

from typing import Any, Final

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from services.kit.work import utc_now
from services.ops.access import Task, can, role_of
from services.ops.console import words
from services.ops.console.session import Visitor

_TEMPLATES: Final = Environment(
    loader=PackageLoader("services.ops.console"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters |= {
    "moment": words.moment,
    "clock": words.clock,
    "name_of": words.name_of,
}
_TEMPLATES.globals |= {"money": words.money, "age": words.age}


def page(
    request: Request,
    visitor: Visitor | None,
    template: str,
    *,
    status: int = 200,
    headers: dict[str, str] | None = None,
    **facts: Any,
) -> HTMLResponse:
    """A page, or a part of one, as `visitor` may see it."""
    text = _TEMPLATES.get_template(template).render(
        facts
        | {
            "path": request.url.path,
            "caller": visitor.caller if visitor else None,
            "csrf": visitor.session.csrf if visitor else "",
            "role": role_of(visitor.caller) if visitor else "",
            "may": lambda task: visitor is not None and can(visitor.caller, Task(task)),
            "now": utc_now(),
        }
    )
    return HTMLResponse(text, status, headers)
