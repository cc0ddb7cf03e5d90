"""`expand`: ids in an answer replaced by the objects they name."""

from deploy.local.stripe_standin.errors import Json, invalid
from deploy.local.stripe_standin.forms import array
from deploy.local.stripe_standin.session import Session

_MAX_DEPTH = 4

# kind: its expandable properties, and the kind behind each
_EXPANDABLE = {
    "payment_intent": {"latest_charge": "charge", "payment_method": "payment_method"},
    "charge": {"payment_intent": "payment_intent"},
    "refund": {"charge": "charge", "payment_intent": "payment_intent"},
    "dispute": {"charge": "charge", "payment_intent": "payment_intent"},
}


def paths(params: Json, kind: str, *, listing: bool) -> list[list[tuple[str, str]]]:
    """The properties to expand, each a path of (property, kind of the object behind it).

    Raises StripeError for what cannot be expanded, so call it before the operation.
    """
    return [_path(dotted, kind, listing) for dotted in array("expand", params.get("expand", {}))]


def _path(dotted: str, kind: str, listing: bool) -> list[tuple[str, str]]:
    steps = dotted.split(".")
    if len(steps) > _MAX_DEPTH:
        raise invalid(
            f"You cannot expand more than {_MAX_DEPTH} levels of a property: {dotted}",
            param="expand",
        )
    if listing and steps.pop(0) != "data":
        raise invalid(
            f"This property cannot be expanded ({dotted}). You may want to try expanding "
            f"'data.{dotted}' instead.",
            param="expand",
        )
    path = []
    for step in steps:
        behind = _EXPANDABLE.get(kind, {}).get(step)
        if behind is None:
            raise invalid(f"This property cannot be expanded ({dotted}).", param="expand")
        path.append((step, behind))
        kind = behind
    return path


def expand(session: Session, answer: Json, wanted: list[list[tuple[str, str]]]) -> None:
    """Expand in place, in an object or in a list's data."""
    for path in wanted:
        targets = answer.get("data", [answer])
        for name, kind in path:
            for target in targets:
                if isinstance(target[name], str):
                    target[name] = session.find(kind, target[name])
            targets = [target[name] for target in targets if target[name]]
