"""Tokens: who is let in, and as whom."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec

from services.gateway.settings import Settings
from services.kit.auth import Caller, Tokens
from services.kit.problems import ApiProblem

SECRET = "a secret that only tests know, 32+"


def settings(**given: Any) -> Settings:
    return Settings(
        database_url="postgresql://x",
        kafka_bootstrap_servers="x:1",
        stripe_webhook_secret="whsec",
        **given,
    )


def claims(**changed: Any) -> dict[str, Any]:
    told = {"sub": "thandi", "roles": [], "exp": datetime.now(UTC) + timedelta(hours=1)}
    return {name: value for name, value in (told | changed).items() if value is not ...}


def issued(key: Any = SECRET, algorithm: str = "HS256", **changed: Any) -> str:
    kid = {"kid": "k1"} if algorithm != "HS256" else None
    return jwt.encode(claims(**changed), key, algorithm=algorithm, headers=kid)


async def refused(tokens: Tokens, token: str | None) -> str:
    with pytest.raises(ApiProblem) as problem:
        await tokens.caller(token)
    assert problem.value.status == 401
    assert problem.value.headers["WWW-Authenticate"].startswith("Bearer")
    return str(problem.value)


async def test_the_subject_is_the_customer_and_roles_make_staff() -> None:
    tokens = Tokens(settings(jwt_secret=SECRET))
    assert await tokens.caller(issued()) == Caller("thandi")
    assert await tokens.caller(issued(roles=["admin"])) == Caller("thandi", frozenset({"admin"}))
    assert await tokens.caller(issued(roles=...)) == Caller("thandi")


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        (None, "This call needs a bearer token"),
        ("", "This call needs a bearer token"),
        ("nonsense", "The token is not valid"),
        ("\u00e9.\u00e9.\u00e9", "The token is not valid"),
        (issued("somebody else's secret, 32 or more"), "The token is not valid"),
        (issued(sub=...), "The token is not valid"),
        (issued(exp=...), "The token is not valid"),
        (issued(exp=1), "The token has expired"),
        (issued(sub=""), "The token has no usable subject"),
        (issued(sub="a\x00b"), "The token has no usable subject"),
        (issued(sub="a" * 256), "The token has no usable subject"),
        (issued(roles="admin"), "The token's roles are not a list"),
    ],
)
async def test_anything_else_is_401_with_the_reason(token: str | None, reason: str) -> None:
    assert await refused(Tokens(settings(jwt_secret=SECRET)), token) == reason


async def test_a_token_without_a_signature_is_refused() -> None:
    unsigned = jwt.encode(claims(), "", algorithm="none")
    await refused(Tokens(settings(jwt_secret=SECRET)), unsigned)


async def test_issuer_and_audience_are_checked_where_they_are_set() -> None:
    tokens = Tokens(settings(jwt_secret=SECRET, jwt_issuer="https://id", jwt_audience="shop"))
    assert await tokens.caller(issued(iss="https://id", aud="shop"))
    await refused(tokens, issued(iss="https://id", aud="other"))
    await refused(tokens, issued(iss="https://other", aud="shop"))
    await refused(tokens, issued())


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"jwt_secret": SECRET, "jwks_url": "https://id/keys"},
        {"jwt_secret": "short"},
        {"jwks_url": "file:///etc/passwd"},
    ],
)
def test_settings_that_cannot_check_tokens_are_refused(given: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"(?i)jw"):
        settings(**given)


class Provider:
    """An identity provider that publishes one key and counts who asks."""

    def __init__(self) -> None:
        self.private = ec.generate_private_key(ec.SECP256R1())
        self.asked = 0
        self.url = ""

    async def keys(self, _request: web.Request) -> web.Response:
        self.asked += 1
        public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(self.private.public_key()))
        return web.json_response({"keys": [{**public, "kid": "k1", "alg": "ES256"}]})


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    provider = Provider()
    app = web.Application()
    app.router.add_get("/keys", provider.keys)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    provider.url = f"http://127.0.0.1:{runner.addresses[0][1]}/keys"
    yield provider
    await runner.cleanup()


async def test_published_keys_are_fetched_once(provider: Provider) -> None:
    tokens = Tokens(settings(jwks_url=provider.url))
    for _ in range(3):
        assert (await tokens.caller(issued(provider.private, "ES256"))).customer_id == "thandi"
    for _ in range(3):
        forged = jwt.encode(claims(), SECRET, algorithm="HS256", headers={"kid": "made up"})
        await refused(tokens, forged)
    assert provider.asked == 1


async def test_a_public_key_is_no_shared_secret(provider: Provider) -> None:
    tokens = Tokens(settings(jwks_url=provider.url))
    forged = jwt.encode(claims(), SECRET, algorithm="HS256", headers={"kid": "k1"})
    await refused(tokens, forged)


async def test_without_any_key_the_answer_is_503() -> None:
    tokens = Tokens(settings(jwks_url="http://127.0.0.1:1/keys"))
    with pytest.raises(ApiProblem) as problem:
        await tokens.caller(issued(ec.generate_private_key(ec.SECP256R1()), "ES256"))
    assert problem.value.status == 503
