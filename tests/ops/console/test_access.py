"""Signing in and out of the console, forms, cookies, headers. Roles: tests/ops/test_access.py."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import jwt
import pytest
from fastapi import FastAPI, Request

from deploy.local.tokens import token
from services.ops.app import MAX_BODY_BYTES
from services.ops.console.routes import live
from services.ops.console.session import LONGEST_TOKEN, Session
from tests.ops.conftest import Watch
from tests.ops.console.conftest import SECRET, Somebody
from tests.ops.test_observing import letter

ORDER, PRODUCT = UUID(int=1), UUID(int=2)


async def test_its_address_works_as_people_type_it(visitor: Somebody) -> None:
    assert (await visitor.see("")).answer.headers["location"] == "/console/"


async def test_a_role_is_needed_to_sign_in(visitor: Somebody) -> None:
    seen = await visitor.sign_in(token(SECRET, "anna"))
    assert seen.status == 401
    assert "anna has none of the roles: ask for viewer, operator or admin" in seen.text
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


async def test_a_live_page_is_told_nothing_after_its_token(
    watch: Watch, console: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "_LOOK_EVERY", 0)
    claims = {"sub": "vusi", "roles": ["viewer"], "exp": datetime.now(UTC) - timedelta(hours=1)}
    expired = jwt.encode(claims, SECRET, algorithm="HS256")
    cookie = f"ops-console=secret.{expired}".encode()
    request = Request(
        {
            "type": "http",
            "app": console,
            "server": ("127.0.0.1", 80),
            "path": "/",
            "query_string": b"",
            "headers": [(b"cookie", cookie)],
        }
    )
    order_id = uuid4()
    async with asyncio.timeout(30):
        news = live._news(watch.pool, order_id, [str(order_id)], request)
        assert [each.event async for each in news] == ["changed", "alive"]


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


@pytest.mark.parametrize(
    "path",
    [
        *("/dead-letters/replay", "/dead-letters/discard", "/sign-out"),
        *(f"/stock/{PRODUCT}/adjust", f"/orders/{ORDER}/refund", "/bulks"),
    ],
)
async def test_no_form_of_another_is_taken(watch: Watch, admin: Somebody, path: str) -> None:
    await watch.hears(letter(17))
    fields = {"service": "payment", "parked_id": "17", "delta": "5", "reason": "a test"}
    fields |= {"id": str(uuid4()), "action": "cancel", "order": str(uuid4())}
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


@pytest.mark.parametrize("cookie", ["", "ops-console=", "ops-console=."])
async def test_a_cookie_without_a_secret_is_no_session(visitor: Somebody, cookie: str) -> None:
    """What its forms would carry, anybody can work out."""
    fields = {"csrf": Session("").csrf, "token": token(SECRET, "mallory", "viewer")}
    answer = await visitor.client.post("/console/sign-in", data=fields, headers={"Cookie": cookie})
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


async def test_signing_in_begins_a_new_session(visitor: Somebody) -> None:
    await visitor.see("/sign-in")
    before = dict(visitor.client.cookies)
    await visitor.sign_in(token(SECRET, "vusi", "viewer"))
    after = dict(visitor.client.cookies)
    assert before.keys() == after.keys()
    (old,), (new,) = before.values(), after.values()
    assert old.partition(".")[0] != new.partition(".")[0]


async def test_a_form_of_more_fields_than_any_of_ours_is_not_read(admin: Somebody) -> None:
    csrf = (await admin.see("/")).csrf
    seen = await admin.post("/sign-out", csrf=csrf, order=[str(uuid4())] * 300)
    assert (seen.status, "too many fields" in seen.text) == (400, True)
    assert (await admin.see("/")).status == 200


async def test_a_form_larger_than_any_of_ours_is_not_read(admin: Somebody) -> None:
    csrf = (await admin.see("/")).csrf
    seen = await admin.post("/sign-out", csrf=csrf, reason="x" * MAX_BODY_BYTES)
    assert seen.status == 413
    assert (await admin.see("/")).status == 200


@pytest.mark.parametrize(
    ("written", "kept"),
    [("men%00ded", "mended"), ("men\0ded", "mended"), ("men%0%000ded", "men%00ded")],
)
async def test_what_no_table_can_hold_is_left_out_of_a_form(
    watch: Watch, admin: Somebody, written: str, kept: str
) -> None:
    await watch.hears(letter(17))
    csrf = (await admin.see("/")).csrf
    body = f"csrf={csrf}&service=payment&parked_id=17&reason={written}"
    answer = await admin.client.post("/console/dead-letters/replay", content=body)
    assert answer.status_code == 200
    assert await watch.owner.fetchval("SELECT reason FROM operations") == kept


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


async def test_elsewhere_a_browser_heeds_signing_out(visitor: Somebody) -> None:
    """It ignores whatever changes a cookie of that prefix, if not for HTTPS and the whole host."""
    visitor.client.base_url = "https://ops.example.com"
    await visitor.sign_in(token(SECRET, "vusi", "viewer"))
    page = await visitor.see("/")
    signed_out = await visitor.post("/sign-out", csrf=page.csrf)
    cookie = signed_out.answer.headers["set-cookie"]
    assert cookie.startswith('__Host-ops-console="";')
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=strict"} <= set(cookie.split("; "))


PAGES: list[tuple[str, dict[str, Any]]] = [
    *(("/", {}), ("/orders", {}), ("/sagas", {}), ("/audit", {}), ("/dead-letters", {})),
    *(("/stock", {}), ("/bulks", {})),
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
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["permissions-policy"] == "camera=(), geolocation=(), microphone=()"
    assert headers["referrer-policy"] == "no-referrer"
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
    assert "does not exist" not in broken.text  # what PostgreSQL said
