"""What each form that asks for something has: a reason, and an id, so that sent twice it asks once.

The id is made when the form is written. A double click, a reload and the button for going back all
send the same one.
"""

from collections.abc import Awaitable
from typing import Any, Final
from uuid import UUID

from services.kit.problems import ApiProblem
from services.ops.asking import LONGEST_REASON
from services.ops.console.session import Form

Problems = dict[str, str]
"""By the name of a field: what is wrong with it."""

NO_REASON: Final = f"Say why, in at most {LONGEST_REASON} characters: it is kept with your name"
_RESTOCK: Final = {"": None, "yes": True, "no": False}
_NOT_TAKEN: Final = {
    409: "This form was sent before, and said something else then: that is what counts. If you "
    "want this as well, send it once more",
    422: "This form was open for longer than a day. Look at it again, and send it once more",
}


def is_reason(text: str) -> bool:
    return 0 < len(text) <= LONGEST_REASON


def read_reason(form: Form, problems: Problems) -> str:
    reason = form.text("reason")
    if not is_reason(reason):
        problems["reason"] = NO_REASON
    return reason


def read_id(form: Form) -> UUID:
    """Raises ApiProblem (400) where it is missing."""
    found = uuid_of(form.text("id"))
    if found is None:
        raise incomplete()
    return found


def read_restock(form: Form) -> bool | None:
    """Whether goods are put back; None leaves it to what was shipped. Raises ApiProblem (400)."""
    try:
        return _RESTOCK[form.text("restock")]
    except KeyError:
        raise incomplete() from None


def incomplete() -> ApiProblem:
    """Something is missing, or none of what was offered: no form of ours is like that."""
    return ApiProblem(400, "The form is not complete: load the page again")


def uuid_of(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


async def is_taken(asking: Awaitable[Any], problems: Problems, field: str = "id") -> bool:
    """Whether what was asked for is accepted; if the form's id could not be used, `problems` says
    so at the field.

    Raises ApiProblem when it is about something else.
    """
    try:
        await asking
    except ApiProblem as error:
        if error.status not in _NOT_TAKEN:
            raise
        problems[field] = _NOT_TAKEN[error.status]
        return False
    return True
