"""A proxy signs people in: whose header is believed, and that forms stay safe."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from pydantic import ValidationError
from structlog.testing import capture_logs

from deploy.local.tokens import token
from services.kit.service import Service
from services.ops.app import build
from services.ops.console.session import Session
from services.ops.settings import OpsSettings
from tests.gateway.test_auth import Provider, issued, provider
from tests.ops.conftest import Watch
from tests.ops.console.conftest import SECRET, Somebody
from tests.ops.test_observing import letter

__all__ = ["provider"]

PROXY, STRANGER = "10.1.2.3", "192.0.2.7"
Visit = Callable[..., Somebody]


def settings(**changed: Any) -> OpsSettings:
    given: dict[str, Any] = {
        "database_url": "postgresql://",
        "kafka_bootstrap_servers": "nobody:1",
        "jwt_secret": SECRET,
        "oidc_proxies": "10.1.0.0/16, fd00::/8",
        "oidc_issuer": "https://id.example",
        "oidc_audience": "console",
        "oidc_operator": "shop-staff",
    }
    return OpsSettings(**given | changed)


@pytest.fixture
async def visit(watch: Watch, provider: Provider) -> AsyncIterator[Visit]:
    """Somebody who comes from an address, with a header if any."""
    async with AsyncExitStack() as opened:

        def come(given: str | None, *, peer: str = PROXY, **changed: Any) -> Somebody:
            service, app = build(settings(**{"oidc_jwks_url": provider.url} | changed))
            service.pool = watch.pool
            service._unit_of_work = watch.work
            transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=(peer, 4711))
            headers = {"Authorization": f"Bearer {given}"} if given else {}
            client = httpx.AsyncClient(
                transport=transport, base_url="http://127.0.0.1", headers=headers
            )
            opened.push_async_callback(client.aclose)
            return Somebody(client)

        yield come


def id_token(provider: Provider, **changed: Any) -> str:
    claims = {"iss": "https://id.example", "aud": "console", "groups": ["shop-staff", "football"]}
    return issued(provider.private, "ES256", **claims | changed)


async def arrive(somebody: Somebody, page: str) -> httpx.Response:
    return await somebody.client.get(f"/console{page}", follow_redirects=True)


async def test_who_comes_by_the_proxy_needs_no_token(visit: Visit, provider: Provider) -> None:
    given = id_token(provider)
    somebody = visit(given)
    page = await arrive(somebody, "/orders?status=pending")
    assert page.url.raw_path == b"/console/orders?status=pending"
    assert ("thandi" in page.text, "operator" in page.text) == (True, True)
    (cookie,) = somebody.client.cookies.values()
    assert given not in cookie  # so a long one needs no room there
    assert provider.asked == 1


async def test_a_socket_for_both_protocols_knows_the_proxy(
    visit: Visit, provider: Provider
) -> None:
    """There an address of version 4 is written as one of version 6."""
    page = await arrive(visit(id_token(provider), peer=f"::ffff:{PROXY}"), "/")
    assert "thandi" in page.text


@pytest.mark.parametrize(
    ("groups", "role"),
    [
        (["viewer"], "viewer"),
        ("viewer", "viewer"),
        (["admin", "viewer"], "admin"),
        (["operator", "shop-staff", 7], "operator"),
    ],
)
async def test_a_claim_tells_the_role(
    visit: Visit, provider: Provider, groups: Any, role: str
) -> None:
    page = await arrive(visit(id_token(provider, groups=groups, roles=["admin"])), "/")
    assert f'<span class="role">{role}</span>' in page.text


@pytest.mark.parametrize("groups", [["operator", "Viewer"], [], {"admin": 1}, "viewers", ...])
async def test_who_has_no_role_is_told(visit: Visit, provider: Provider, groups: Any) -> None:
    page = await arrive(visit(id_token(provider, groups=groups)), "/")
    assert page.status_code == 401
    assert "thandi has none of the roles" in page.text


EXPIRED = datetime.now(UTC) - timedelta(minutes=5)


@pytest.mark.parametrize(
    ("peer", "header", "why"),
    [
        (STRANGER, id_token, "Authorization came past the proxy"),
        (f"::ffff:{STRANGER}", id_token, "Authorization came past the proxy"),
        ("", id_token, "Authorization came past the proxy"),
        (PROXY, lambda _: id_token(Provider()), "The token is not valid"),
        (PROXY, lambda good: id_token(good, exp=EXPIRED), "The token has expired"),
        (PROXY, lambda good: id_token(good, aud="shop"), "The token is not valid"),
        (PROXY, lambda good: id_token(good, iss="https://evil.example"), "The token is not valid"),
        (PROXY, lambda _: token(SECRET, "mallory", "admin"), "The token is not valid"),
        (PROXY, lambda _: "nonsense", "The token is not valid"),
    ],
    ids=[
        "stranger",
        "stranger in v6",
        "no address",
        "forged",
        "expired",
        "audience",
        "issuer",
        "secret",
        "nonsense",
    ],
)
async def test_no_other_header_is_believed(
    visit: Visit, provider: Provider, peer: str, header: Callable[[Provider], str], why: str
) -> None:
    given = header(provider)
    somebody = visit(given, peer=peer)
    # What a stranger says about where it comes from is nothing.
    ways = ("X-Forwarded-For", "X-Real-IP", "Forwarded")
    somebody.client.headers.update(dict.fromkeys(ways, PROXY))
    with capture_logs() as logs:
        page = await arrive(somebody, "/orders")
    assert (page.status_code, page.url.path) == (401, "/console/sign-in")
    assert why in page.text
    (line,) = [line for line in logs if line["event"] == "the console believes no header"]
    assert (line["peer"], line["why"].startswith(why)) == (peer, True)
    assert given not in f"{logs}{page.text}"
    # The cookie that the form came with opens nothing either.
    assert (await somebody.see("/orders")).status == 303


async def test_a_session_ends_with_the_header(visit: Visit, provider: Provider) -> None:
    somebody = visit(id_token(provider))
    assert (await arrive(somebody, "/")).status_code == 200
    del somebody.client.headers["Authorization"]
    assert (await somebody.see("/")).status == 303
    somebody.client.headers["Authorization"] = id_token(provider, exp=EXPIRED)
    assert (await arrive(somebody, "/")).url.path == "/console/sign-in"


async def test_its_forms_are_of_the_session_as_well(
    watch: Watch, visit: Visit, provider: Provider
) -> None:
    await watch.hears(letter(17))
    somebody = visit(id_token(provider))
    fields = {"service": "payment", "parked_id": "17", "reason": "mended"}
    # Another site makes the browser post before anything was looked at, and afterwards.
    for csrf in ({}, {"csrf": Session("").csrf}):
        assert (await somebody.post("/dead-letters/replay", **fields, **csrf)).status == 303
    await arrive(somebody, "/")
    for csrf in ({}, {"csrf": "0" * 64}):
        assert (await somebody.post("/dead-letters/replay", **fields, **csrf)).status == 403
    assert await watch.owner.fetchval("SELECT count(*) FROM operations") == 0
    page = await somebody.see("/dead-letters/payment/17")
    assert (await somebody.post("/dead-letters/replay", **fields, csrf=page.csrf)).status == 200
    assert await watch.owner.fetchval("SELECT requested_by FROM operations") == "thandi"
    discard = await somebody.post("/dead-letters/discard", **fields, csrf=page.csrf)
    assert discard.status == 403


async def test_without_the_issuers_keys_a_token_still_signs_in(
    visit: Visit, provider: Provider
) -> None:
    somebody = visit(id_token(provider), oidc_jwks_url="http://127.0.0.1:1/keys")
    page = await arrive(somebody, "/")
    assert page.status_code == 503
    assert "Tokens cannot be checked right now" in page.text
    seen = await somebody.sign_in(token(SECRET, "naledi", "admin"))
    assert seen.status == 303
    assert "naledi" in (await somebody.see("/")).text
    api = await somebody.client.get(
        "/v1/orders", headers={"Authorization": f"Bearer {token(SECRET, 'vusi', 'viewer')}"}
    )
    assert api.status_code == 200


async def test_who_signs_out_is_not_signed_in_again_at_once(
    visit: Visit, provider: Provider
) -> None:
    somebody = visit(id_token(provider))
    page = await arrive(somebody, "/")
    form = await somebody.see("/")
    left = await somebody.post("/sign-out", csrf=form.csrf)
    seen = await arrive(somebody, left.answer.headers["location"].removeprefix("/console"))
    assert (page.status_code, seen.url.path) == (200, "/console/sign-in")
    assert "still knows you" in seen.text
    assert (await arrive(somebody, "/")).status_code == 200


async def test_a_browser_that_keeps_no_cookie_is_told(visit: Visit, provider: Provider) -> None:
    somebody = visit(id_token(provider))
    location = "/console/"
    for _ in range(4):
        somebody.client.cookies.clear()
        answer = await somebody.client.get(location)
        location = answer.headers.get("location", "")
        if not location:
            break
    assert (answer.status_code, "keeps no cookie" in answer.text) == (401, True)


async def test_unless_it_is_set_no_header_signs_in(visit: Visit, provider: Provider) -> None:
    page = await arrive(visit(id_token(provider), oidc_proxies=None), "/")
    assert (page.status_code, page.url.path) == (200, "/console/sign-in")


async def test_the_api_takes_no_id_token(visit: Visit, provider: Provider) -> None:
    assert (await visit(id_token(provider)).client.get("/v1/orders")).status_code == 401


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"oidc_jwks_url": None}, "needs OIDC_JWKS_URL"),
        ({"oidc_issuer": ""}, "needs OIDC_JWKS_URL, OIDC_ISSUER"),
        ({"oidc_audience": None}, "OIDC_AUDIENCE"),
        ({"oidc_proxies": "10.1.2.3/8"}, "has host bits set"),
        ({"oidc_proxies": "proxy.example"}, "does not appear to be"),
        ({"oidc_proxies": "10.0.0.0/8,0.0.0.0/0"}, "everybody is no trusted proxy"),
        ({"oidc_proxies": " , "}, "names no network"),
    ],
)
def test_settings_that_trust_nobody_in_particular_are_refused(
    changed: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValidationError, match=said):
        settings(**{"oidc_jwks_url": "https://id.example/keys"} | changed)


async def test_the_keys_of_both_issuers_are_refreshed_in_the_background(
    provider: Provider,
) -> None:
    """The API's and the console's: no request is needed for the first fetch."""
    given = {"jwt_secret": None, "jwks_url": provider.url, "oidc_jwks_url": provider.url}
    service, _app = build(settings(**given))
    names = ("refresh_signing_keys", "refresh_console_keys")
    tasks = [asyncio.create_task(_run(service, name)) for name in names]
    async with asyncio.timeout(30):
        while provider.asked < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _run(service: Service, task: str) -> None:
    await service._tasks._calls[task]()
