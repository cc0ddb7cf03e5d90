"""Webhook endpoints: the operations of the API, and the one that comes from the settings."""

from typing import Any
from urllib.parse import urlsplit

from deploy.local.stripe_standin import lists
from deploy.local.stripe_standin.errors import Json, invalid
from deploy.local.stripe_standin.forms import (
    Parser,
    array,
    boolean,
    merged,
    metadata,
    optional_text,
    read,
    text,
)
from deploy.local.stripe_standin.session import API_VERSION, Session

# Stripe's own limit; it also bounds what one event can cost.
_MAX_ENDPOINTS = 16
_FROM_SETTINGS = "we_settings"


def _url(name: str, value: Any) -> str:
    url = text(name, value)
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc:
        raise invalid(
            "Invalid URL: An explicit scheme (such as https) must be provided.", param=name
        )
    return url


def _event_types(name: str, value: Any) -> list[str]:
    types = array(name, value)
    for type_ in types:
        if type_ != "*" and "." not in type_:
            raise invalid(f"Invalid {name}: {type_} is not an event type", param=name)
    return types


_UPDATE: dict[str, Parser] = {
    "description": optional_text,
    "enabled_events": _event_types,
    "metadata": metadata,
    "url": _url,
}


def create(session: Session, _: str, params: Json) -> Json:
    """POST /v1/webhook_endpoints. Only this answer carries the signing `secret`."""
    given = read(params, {**_UPDATE, "api_version": text}, required=("enabled_events", "url"))
    count = session.db.execute(
        "SELECT count(*) FROM objects WHERE kind = 'webhook_endpoint'"
    ).fetchone()[0]
    if count >= _MAX_ENDPOINTS:
        raise invalid(f"You have reached the maximum of {_MAX_ENDPOINTS} test webhook endpoints.")
    endpoint = _new(
        session,
        session.new_id("we"),
        given["url"],
        f"whsec_{session.random.getrandbits(192):048x}",
    )
    endpoint.update(
        enabled_events=given["enabled_events"],
        description=given.get("description"),
        metadata=merged({}, given.get("metadata", {})),
    )
    session.insert(endpoint)
    return endpoint


def get(session: Session, id_: str, params: Json) -> Json:
    """GET /v1/webhook_endpoints/{id}"""
    read(params, {})
    return _shown(session.get("webhook_endpoint", id_))


def list_(session: Session, _: str, params: Json) -> Json:
    """GET /v1/webhook_endpoints"""
    given = read(params, lists.PAGING)
    return lists.objects(
        session,
        "webhook_endpoint",
        "/v1/webhook_endpoints",
        given,
        render=lambda body: _shown(lists.parsed(body)),
    )


def update(session: Session, id_: str, params: Json) -> Json:
    """POST /v1/webhook_endpoints/{id}"""
    given = read(params, {**_UPDATE, "disabled": boolean})
    endpoint = session.get("webhook_endpoint", id_)
    if "disabled" in given:
        endpoint["status"] = "disabled" if given.pop("disabled") else "enabled"
    given["metadata"] = merged(endpoint["metadata"], given.get("metadata", {}))
    endpoint.update(given)
    session.save(endpoint)
    return _shown(endpoint)


def delete(session: Session, id_: str, params: Json) -> Json:
    """DELETE /v1/webhook_endpoints/{id}: nothing is owed to it any more."""
    read(params, {})
    session.get("webhook_endpoint", id_)
    session.delete(id_)
    session.db.execute("DELETE FROM deliveries WHERE endpoint = ?", (id_,))
    return {"id": id_, "object": "webhook_endpoint", "deleted": True}


def from_settings(session: Session) -> None:
    """Have the endpoint of STANDIN_WEBHOOK_URL: one, also after the URL or secret has changed."""
    url, secret = session.settings.standin_webhook_url, session.settings.signing_secret
    kept = session.find("webhook_endpoint", _FROM_SETTINGS)
    if kept:
        kept.update(url=url, secret=secret, status="enabled" if url else "disabled")
        session.save(kept)
    elif url:
        session.insert(_new(session, _FROM_SETTINGS, url, secret))


def _new(session: Session, id_: str, url: str, secret: str) -> Json:
    return {
        "id": id_,
        "object": "webhook_endpoint",
        "api_version": API_VERSION,
        "application": None,
        "created": session.now,
        "description": None,
        "enabled_events": ["*"],
        "livemode": False,
        "metadata": {},
        "secret": secret,
        "status": "enabled",
        "url": url,
    }


def _shown(endpoint: Json) -> Json:
    return {name: value for name, value in endpoint.items() if name != "secret"}
