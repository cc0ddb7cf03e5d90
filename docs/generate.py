"""Writes the parts of the documentation that the code already says, between their markers.

`make docs` runs this; a test fails when what is committed is stale. Text outside the markers is
for people to write. Needs no servers: everything is read from classes, tables and files.
"""

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import Enum
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts
from prometheus_client.metrics import MetricWrapperBase
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from contracts.registry import MESSAGES
from contracts.topics import TOPICS, Topic
from services.gateway.app import build as build_gateway
from services.gateway.settings import Settings as GatewaySettings
from services.inventory.settings import InventorySettings
from services.kit.settings import ServiceSettings
from services.notification.settings import NotificationSettings
from services.ops.access import WHO, May, Role, Task
from services.ops.app import build as build_ops
from services.ops.settings import OpsSettings
from services.order.diagram import mermaid
from services.order.settings import OrderSettings
from services.payment.settings import PaymentSettings

ROOT: Final = Path(__file__).parents[1]
README: Final = ROOT / "README.md"
OPERATIONS: Final = ROOT / "docs" / "operations.md"
DECISIONS: Final = ROOT / "docs" / "decisions"

SETTINGS: Final[dict[str, type[ServiceSettings]]] = {
    "order": OrderSettings,
    "inventory": InventorySettings,
    "payment": PaymentSettings,
    "gateway": GatewaySettings,
    "notification": NotificationSettings,
    "ops": OpsSettings,
}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; a cell may hold Markdown, but no line break."""
    return "\n".join(map(_row, (head, ["---"] * len(head), *rows)))


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


# -- the parts ---------------------------------------------------------------------------------


def saga() -> str:
    return f"```mermaid\n{mermaid()}\n```"


def topics() -> str:
    return table(
        ("topic", "owner", "key", "partitions", "kept", "messages"),
        ((f"`{t.name}`", t.owner, t.key, str(t.partitions), _kept(t), _travels(t)) for t in TOPICS),
    )


def _kept(topic: Topic) -> str:
    return "for ever, compacted" if topic.retention is None else f"{topic.retention.days} days"


def _travels(topic: Topic) -> str:
    return ", ".join(m.__name__ for m in MESSAGES.values() if topic in m.topics())


def settings() -> str:
    common = ServiceSettings.model_fields
    parts = [f"Every service:\n\n{_settings(common)}"]
    for name, owner in SETTINGS.items():
        own = {
            field: info
            for field, info in owner.model_fields.items()
            if field not in common or info.default != common[field].default
        }
        parts.append(f"The {name} service besides:\n\n{_settings(own)}")
    return "\n\n".join(parts)


def _settings(fields: dict[str, FieldInfo]) -> str:
    return table(
        ("setting", "default", "meaning"),
        ((f"`{name.upper()}`", _default(info), _meaning(info)) for name, info in fields.items()),
    )


def _default(info: FieldInfo) -> str:
    value = info.default
    if info.is_required():
        return "required"
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if value is None or value == "":
        return ""
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _meaning(info: FieldInfo) -> str:
    """The description, and the choices where there are some."""
    choices = ""
    if get_origin(info.annotation) is Literal:
        choices = " or ".join(f"`{choice}`" for choice in get_args(info.annotation))
    elif isinstance(info.annotation, type) and issubclass(info.annotation, Enum):
        choices = " or ".join(f"`{choice.value}`" for choice in info.annotation)
    return ". ".join(part for part in (choices, info.description) if part)


# Addresses that nobody connects to: the routes are declared before anything starts.
_NOWHERE: Final[dict[str, Any]] = {
    "database_url": "postgresql://",
    "kafka_bootstrap_servers": "nobody:1",
    "jwt_secret": SecretStr("-" * 32),
}


def http() -> str:
    _, app = build_gateway(GatewaySettings(**_NOWHERE, stripe_webhook_secret=SecretStr("-")))
    return _calls(app, _who)


def http_of_ops() -> str:
    """Each call is for those who may do the task that its route asks for."""
    _, app = build_ops(OpsSettings(**_NOWHERE))
    tasks = {
        (route.path, method.lower()): dependency.call.task
        for route in iter_route_contexts(app.routes)
        if isinstance(route.original_route, APIRoute)
        for dependency in route.dependant.dependencies
        if isinstance(dependency.call, May)
        for method in route.methods or ()
    }
    return _calls(app, lambda path, method, _: ", ".join(WHO[tasks[path, method]]))


def roles() -> str:
    """Who may do what in the ops service."""
    return table(
        ("task", *Role),
        ((task, *("yes" if role in WHO[task] else "" for role in Role)) for task in Task),
    )


def _calls(app: FastAPI, who: Callable[[str, str, dict[str, Any]], str]) -> str:
    return table(
        ("call", "who", "what"),
        (
            (f"`{method.upper()} {path}`", who(path, method, operation), operation["summary"])
            for path, operations in app.openapi()["paths"].items()
            for method, operation in operations.items()
        ),
    )


def _who(path: str, _method: str, operation: dict[str, Any]) -> str:
    if path.startswith("/v1/admin/"):
        return "staff"
    if "security" in operation:
        return "customer"
    return "Stripe" if "stripe" in operation.get("tags", ()) else "anybody"


def decisions() -> str:
    return "\n".join(
        f"- [{path.name[:4]}](docs/decisions/{path.name}) {_title(path)}"
        for path in sorted(DECISIONS.glob("[0-9]*.md"))
    )


def _title(path: Path) -> str:
    """The heading without its number."""
    return path.read_text().split("\n", 1)[0].lstrip("# ").partition(" ")[2]


def metrics() -> str:
    return table(
        ("metric", "kind", "of", "labels", "what it counts or measures"),
        sorted(_metrics(), key=lambda row: (row[2] != "every service", row[2], row[0])),
    )


def _metrics() -> Iterator[tuple[str, str, str, str, str]]:
    seen: set[str] = set()
    for owner in SETTINGS:
        import_module(f"services.{owner}.app")
    for owner in ("kit", *SETTINGS):  # a service imports the kit's, so the kit comes first
        for value in _public_values(f"services.{owner}."):
            if not isinstance(value, MetricWrapperBase):
                continue
            (metric,) = value.describe()
            if metric.name in seen:
                continue
            seen.add(metric.name)
            yield (
                f"`{metric.name}_total`" if metric.type == "counter" else f"`{metric.name}`",
                metric.type,
                "every service" if owner == "kit" else owner,
                ", ".join(f"`{label}`" for label in value._labelnames),  # it has no other door
                metric.documentation,
            )


def _public_values(prefix: str) -> Iterator[object]:
    for name, module in sorted(sys.modules.items()):
        if name.startswith(prefix):
            yield from (value for key, value in vars(module).items() if key.isupper())


# -- writing -----------------------------------------------------------------------------------

PARTS: Final[dict[Path, dict[str, Callable[[], str]]]] = {
    README: {
        "saga": saga,
        "topics": topics,
        "http": http,
        "settings": settings,
        "decisions": decisions,
    },
    OPERATIONS: {"metrics": metrics, "roles": roles, "http-ops": http_of_ops},
}


def fill(page: str, name: str, text: str) -> str:
    """The page with `text` in the part of that name.

    Raises:
        ValueError: the page does not have the two markers of the part, once.
    """
    begin, end = f"<!-- generated: {name} -->\n", f"<!-- end: {name} -->"
    pattern = f"(?<={re.escape(begin)}).*?(?={re.escape(end)})"
    filled, count = re.subn(pattern, lambda _: f"\n{text}\n\n", page, flags=re.DOTALL)
    if count != 1:
        raise ValueError(f"the page needs the lines {begin.strip()} and {end}, once each")
    return filled


def documents() -> dict[Path, str]:
    """Every page with generated parts, and what it must hold.

    Raises:
        ValueError: a page lacks a marker.
    """
    pages = {}
    for path, parts in PARTS.items():
        page = path.read_text()
        for name, text in parts.items():
            page = fill(page, name, text())
        pages[path] = page
    return pages


def main() -> None:
    for path, text in documents().items():
        path.write_text(text)
        print(f"{path.relative_to(ROOT)} written")


if __name__ == "__main__":
    main()
