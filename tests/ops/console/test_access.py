"""Who may do what in the console: every route with every role; forms, cookies and headers."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import jwt
import pytest
from fastapi import FastAPI
from starlette.routing import Mount

from contracts.message import new_message_id
from deploy.local.tokens import token
from services.ops.app import build
from services.ops.console.session import LONGEST_TOKEN, Session
from services.ops.settings import OpsSettings
from tests.ops.conftest import Watch
from tests.ops.console.conftest import SECRET, Somebody
from tests.ops.test_observing import letter

_, APP = build(
    OpsSettings(database_url="postgresql://", kafka_bootstrap_servers="nobody:1", jwt_secret=SECRET)
)
(CONSOLE,) = [
    route.app
    for route in APP.routes
    if isinstance(route, Mount) and isinstance(route.app, FastAPI) and route.path == "/console"
]
ROUTES = [
    (method.upper(), path)
    for path, operations in CONSOLE.openapi()["paths"].items()
    for method in operations
]
FOR_EVERYBODY = {("GET", "/sign-in"), ("POST", "/sign-in")}
FOR_SIGNED_IN = {("POST", "/sign-out")}


def test_the_matrix_knows_every_route() -> None:
    assert len(ROUTES) >= 17
    assert {path for method, path in ROUTES if method == "POST"} == {
        *("/sign-in", "/sign-out", "/dead-letters/replay", "/dead-letters/discard"),
        *("/sagas/{order}/retry", "/orders/{order}/notes"),
    }


def address(path: str) -> str:
    # No route of a stream that would never end: this order is nobody's.
    return path.format(order=uuid4(), service="order", parked_id=10**12)


@pytest.mark.parametrize("role", ["nobody", "customer", "viewer", "admin"])
async def test_who_may_do_what(visitor: Somebody, role: str) -> None:
    """Every route: signing out comes last."""
    session = await enter(visitor, role)
    wrong = []
    for method, path in sorted(ROUTES, key=lambda route: route in FOR_SIGNED_IN):
        if method == "POST":
            csrf = (await visitor.see("/sign-in")).csrf if role == "nobody" else session.csrf
            fields = {"service": "order", "parked_id": str(10**12), "reason": "a test"}
            fields |= {"id": str(new_message_id()), "text": "a test"}
            seen = await visitor.post(address(path), csrf=csrf, **fields)
        else:
            query = {"id": str(uuid4()), "service": "order", "cause": "none"}
            seen = await visitor.see(address(path), **query)
        if seen.status not in allowed(role, method, path):
            wrong.append((method, path, seen.status))
        if seen.status == 303 and path not in ("/sign-in", "/sign-out"):
            assert seen.answer.headers["location"].startswith("/console/sign-in")
    assert not wrong


def allowed(role: str, method: str, path: str) -> set[int]:
    """How a route may answer somebody."""
    if (method, path) in FOR_EVERYBODY:
        return {200, 401}
    if role == "nobody":
        return {303}
    if (method, path) in FOR_SIGNED_IN:
        return {303}
    if role == "admin" or (role == "viewer" and method == "GET"):
        return {200, 404}
    return {403}


async def enter(visitor: Somebody, role: str) -> Session:
    """Somebody without a role cannot sign in; whoever lost it still has the cookie."""
    session = Session.begin(token(SECRET, "somebody", *{role} & {"viewer", "admin"}))
    if role != "nobody":
        cookie = f"{session.secret}.{session.token}"
        visitor.client.cookies.set("ops-console", cookie, "127.0.0.1", "/")
    return session


async def test_its_address_works_as_people_type_it(visitor: Somebody) -> None:
    assert (await visitor.see("")).answer.headers["location"] == "/console/"


async def test_a_role_is_needed_to_sign_in(visitor: Somebody) -> None:
    seen = await visitor.sign_in(token(SECRET, "anna"))
    assert seen.status == 401
    assert "anna is neither viewer nor admin" in seen.text
    assert (await visitor.see("/")).status == 303


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("", "Paste a token first"),
        ("nonsense", "The token is not valid"),
        (token("another secret, also long enough for it", "x", "admin"), "The token is not valid"),
        ("x" * (LONGEST_TOKEN + 1), "no cookie can hold it"),
    ],
    ids=["none", "nonsense", "forged", "long"],
)
async def test_a_token_that_is_none_is_told(visitor: Somebody, given: str, said: str) -> None:
    seen = await visitor.sign_in(given)
    assert seen.status == 401
    assert said in seen.text
    assert given not in seen.answer.text or not given


async def test_an_expired_token_leads_to_the_form_and_back(visitor: Somebody) -> None:
    await visitor.sign_in(token(SECRET, "vusi", "viewer"))
    claims = {"sub": "vusi", "roles": ["viewer"], "exp": datetime.now(UTC) - timedelta(hours=1)}
    name, value = next(iter(visitor.client.cookies.items()))
    expired = jwt.encode(claims, SECRET, algorithm="HS256")
    visitor.client.cookies.set(name, f"{value.partition('.')[0]}.{expired}", "127.0.0.1", "/")
    seen = await visitor.see("/orders", q="anna")
    location = seen.answer.headers["location"]
    assert "next=%2Fconsole%2Forders%3Fq%3Danna" in location
    form = await visitor.see(location.removeprefix("/console"))
    assert "not valid any more" in form.text
    back = await visitor.post(
        "/sign-in",
        csrf=form.csrf,
        token=token(SECRET, "vusi", "viewer"),
        next="/console/orders?q=anna",
    )
    assert back.answer.headers["location"] == "/console/orders?q=anna"


async def test_a_part_of_a_page_sends_the_whole_page_to_sign_in(visitor: Somebody) -> None:
    answer = await visitor.client.get("/console/overview/now", headers={"HX-Request": "true"})
    assert answer.status_code == 401
    assert answer.headers["hx-redirect"] == "/console/sign-in"


@pytest.mark.parametrize(
    "target", ["https://evil.example/", "//evil.example/", "/console/\\evil", "javascript:1", ""]
)
async def test_signing_in_leads_nowhere_else(visitor: Somebody, target: str) -> None:
    seen = await visitor.sign_in(token(SECRET, "vusi", "viewer"), next=target)
    assert seen.answer.headers["location"] == "/console/"


async def test_signing_out_takes_the_token_from_the_browser(viewer: Somebody) -> None:
    page = await viewer.see("/")
    assert (await viewer.post("/sign-out", csrf=page.csrf)).status == 303
    assert (await viewer.see("/")).status == 303
    assert not viewer.client.cookies


# -- forms -------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/dead-letters/replay", "/dead-letters/discard", "/sign-out"])
async def test_no_form_of_another_is_taken(watch: Watch, admin: Somebody, path: str) -> None:
    await watch.hears(letter(17))
    fields = {"service": "payment", "parked_id": "17", "reason": "because"}
    stranger = "0" * 64
    for csrf in ({}, {"csrf": ""}, {"csrf": stranger}):
        seen = await admin.post(path, **fields, **csrf)
        assert seen.status == 403
        assert "does not belong to your session" in seen.text
    assert await watch.owner.fetchval("SELECT count(*) FROM operations") == 0
    assert (await admin.see("/")).status == 200


async def test_a_form_belongs_to_one_session(admin: Somebody) -> None:
    before = (await admin.see("/")).csrf
    await admin.sign_in(token(SECRET, "naledi", "admin"))
    now = (await admin.see("/")).csrf
    assert now != before
    assert (await admin.post("/sign-out", csrf=before)).status == 403


async def test_nobody_is_signed_in_by_a_form_of_another(visitor: Somebody) -> None:
    await visitor.see("/sign-in")
    given = token(SECRET, "mallory", "viewer")
    assert (await visitor.post("/sign-in", token=given)).status == 403
    assert (await visitor.post("/sign-in", token=given, csrf="")).status == 403
    assert (await visitor.see("/")).status == 303


async def test_signing_in_begins_a_new_session(visitor: Somebody) -> None:
    await visitor.see("/sign-in")
    before = dict(visitor.client.cookies)
    await visitor.sign_in(token(SECRET, "vusi", "viewer"))
    after = dict(visitor.client.cookies)
    assert before.keys() == after.keys()
    (old,), (new,) = before.values(), after.values()
    assert old.partition(".")[0] != new.partition(".")[0]


# -- cookies and headers -----------------------------------------------------------------------


async def test_no_script_reads_the_token_and_no_other_site_sends_it(visitor: Somebody) -> None:
    answer = (await visitor.sign_in(token(SECRET, "vusi", "viewer"))).answer
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "max-age" not in cookie  # it goes with the browser's window


@pytest.mark.parametrize("page", ["/orders?q=anna", "/sign-in"])
async def test_a_link_of_another_site_signs_nobody_out(visitor: Somebody, page: str) -> None:
    """The browser keeps the cookie back; asked once more by our own page it sends it."""
    address = f"/console{page}"
    followed = await visitor.client.get(address, headers={"Sec-Fetch-Site": "cross-site"})
    assert followed.status_code == 200
    assert 'http-equiv="refresh"' in followed.text
    assert "set-cookie" not in followed.headers
    own = await visitor.client.get(address, headers={"Sec-Fetch-Site": "same-origin"})
    assert 'http-equiv="refresh"' not in own.text


@pytest.mark.parametrize("host", ["ops.example.com", "127.0.0.1.evil.example"])
async def test_elsewhere_than_on_this_machine_a_cookie_needs_https(
    visitor: Somebody, host: str
) -> None:
    answer = await visitor.client.get(f"http://{host}/console/sign-in")
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-ops-console=")
    assert "Secure" in cookie
    assert "Path=/;" in cookie + ";"


PAGES: list[tuple[str, dict[str, Any]]] = [
    *(("/", {}), ("/orders", {}), ("/sagas", {}), ("/audit", {}), ("/dead-letters", {})),
    *(("/sign-in", {}), ("/nothing", {}), ("/orders/x", {}), ("/static/live.js", {})),
]


@pytest.mark.parametrize(("page", "query"), PAGES, ids=[page for page, _ in PAGES])
async def test_no_page_lets_foreign_code_in(
    viewer: Somebody, page: str, query: dict[str, Any]
) -> None:
    seen = await viewer.see(page, **query)
    policy = dict(
        part.strip().partition(" ")[::2]
        for part in seen.answer.headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert {policy[kind] for kind in ("script-src", "style-src", "connect-src", "img-src")} == {
        "'self'"
    }
    assert policy["form-action"] == "'self'"
    assert policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    headers = seen.answer.headers
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == ("no-cache" if "static" in page else "no-store")
    # What the policy would refuse is not there either.
    for tag, attrs in seen.elements:
        assert "style" not in attrs
        assert not [name for name in attrs if name.startswith("on")]
        assert tag != "style"
        assert tag != "script" or (attrs.get("src") or "").startswith("/console/static/")


async def test_errors_are_pages(viewer: Somebody, watch: Watch) -> None:
    missing = await viewer.see("/nothing")
    assert missing.status == 404
    assert "text/html" in missing.answer.headers["content-type"]
    assert "Back to the overview" in missing.text
    for odd in ("/dead-letters/order/99999999999999999999", "/orders/%00", "/orders?q=%00"):
        assert (await viewer.see(odd)).status == 404
    await watch.owner.execute("ALTER TABLE orders RENAME TO mislaid")
    broken = await viewer.see("/orders")
    assert broken.status == 500
    assert "Something went wrong on our side" in broken.text
    assert "mislaid" not in broken.answer.text
