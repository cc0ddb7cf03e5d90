"""Keys of the identity provider: a provider that hangs, errs, rotates or withdraws keys.

Against a real HTTP server. The periods are short; what is asserted is what is answered and how
often the provider is called, never how long something takes.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import jwt
import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from services.kit import published_keys
from services.kit.auth import Tokens
from services.kit.problems import ApiProblem
from tests.kit.identity_provider import IdentityProvider, running_provider

LONG = 3600.0


class Checks(NamedTuple):
    jwks_url: str | None
    jwks_max_age_seconds: float = LONG
    jwt_issuer: str | None = None
    jwt_audience: str | None = None
    jwt_secret: None = None


@pytest.fixture
async def provider() -> AsyncIterator[IdentityProvider]:
    async with running_provider() as running:
        yield running


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Failed fetches are repeated, and unknown key ids fetch, without a pause."""
    monkeypatch.setattr(published_keys, "_ON_DEMAND_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(published_keys, "_FIRST_PAUSE", 0.01)
    monkeypatch.setattr(published_keys, "_LONGEST_PAUSE", 0.02)
    return iter(())


@asynccontextmanager
async def refreshing(provider: IdentityProvider, max_age: float = LONG) -> AsyncIterator[Tokens]:
    """Tokens whose keys are refreshed as in a service, with the first keys in memory."""
    tokens = Tokens(Checks(provider.url, max_age), used_by="test")
    task = asyncio.create_task(tokens.refresh_keys())
    try:
        await asyncio.sleep(0)  # so that the task makes the first fetch, and no request
        assert await status_of(tokens, provider.token()) == 200
        yield tokens
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def status_of(tokens: Tokens, token: str) -> int:
    """The status that a request with this token gets: 200, 401 or 503."""
    try:
        await tokens.caller(token)
    except ApiProblem as problem:
        return problem.status
    return 200


async def until_status(status: int, tokens: Tokens, token: str) -> None:
    async with asyncio.timeout(30):
        while await status_of(tokens, token) != status:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def until_called(provider: IdentityProvider, more: int = 1) -> None:
    target = provider.requests + more
    async with asyncio.timeout(30):
        while provider.requests < target:  # noqa: ASYNC110  # the server has nothing to wake us by
            await asyncio.sleep(0.01)


async def test_a_hanging_provider_delays_no_request_whose_key_is_known(
    provider: IdentityProvider,
) -> None:
    async with refreshing(provider, max_age=20) as tokens:
        provider.answers.clear()
        unknown = asyncio.create_task(status_of(tokens, provider.token("k2")))
        await until_called(provider)
        # The provider has the request and gives no answer; it is still so when these are served.
        for _ in range(100):
            assert await status_of(tokens, provider.token()) == 200
        assert not unknown.done()
        assert await unknown == 503


async def test_a_hanging_provider_is_waited_for_once_and_for_a_bounded_time(
    provider: IdentityProvider, monkeypatch: pytest.MonkeyPatch, no_pause: None
) -> None:
    monkeypatch.setattr(published_keys, "_WAIT_SECONDS", 0.05)
    async with refreshing(provider) as tokens:
        monkeypatch.setattr(published_keys, "_FETCH_SECONDS", 3600.0)
        provider.answers.clear()
        before = provider.requests
        unknown = [status_of(tokens, provider.token(f"made-up-{n}")) for n in range(50)]
        assert set(await asyncio.gather(*unknown)) == {503}
        assert provider.requests == before + 1
        monkeypatch.setattr(published_keys, "_WAIT_SECONDS", 3600.0)
        async with asyncio.timeout(30):  # from now on nothing waits: the fetch is known to be slow
            assert await status_of(tokens, provider.token("made-up")) == 503


async def test_made_up_key_ids_do_not_call_the_provider_each_time(
    provider: IdentityProvider,
) -> None:
    async with refreshing(provider) as tokens:
        before = provider.requests
        for number in range(20):
            assert await status_of(tokens, provider.token(f"made-up-{number}")) == 401
        assert provider.requests <= before + 1


async def test_a_token_of_another_algorithm_calls_nobody(provider: IdentityProvider) -> None:
    async with refreshing(provider) as tokens:
        before = provider.requests
        forged = jwt.encode({"sub": "x"}, "k" * 32, "HS256", headers={"kid": "made up"})
        assert await status_of(tokens, forged) == 401
        assert provider.requests == before


async def test_a_new_key_is_used_with_its_first_token(
    provider: IdentityProvider, no_pause: None
) -> None:
    async with refreshing(provider) as tokens:
        provider.published = ["k1", "k2"]
        assert await status_of(tokens, provider.token("k2")) == 200
        assert await status_of(tokens, provider.token("k1")) == 200


async def test_a_withdrawn_key_is_refused_at_the_next_refresh(
    provider: IdentityProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(published_keys, "_LONGEST_REFRESH_SECONDS", 0.1)
    async with refreshing(provider) as tokens:
        provider.published = ["k2"]
        await until_status(401, tokens, provider.token("k1"))
        assert await status_of(tokens, provider.token("k2")) == 200


@pytest.mark.parametrize("trouble", ["hangs", "errs", "publishes no key", "publishes nonsense"])
async def test_keys_expire_while_the_provider_fails_and_come_back_with_it(
    provider: IdentityProvider, no_pause: None, trouble: str
) -> None:
    async with refreshing(provider, max_age=3.0) as tokens:
        match trouble:
            case "hangs":
                provider.answers.clear()
            case "errs":
                provider.status = 500
            case "publishes no key":
                provider.published = []
            case "publishes nonsense":
                provider.document = ["k1"]
        assert await status_of(tokens, provider.token()) == 200
        with capture_logs() as logged:
            await until_status(503, tokens, provider.token())
            # Also for a key that the provider withdrew meanwhile, and for one that it never had.
            assert await status_of(tokens, provider.token("k2")) == 503
            if trouble != "hangs":
                await until_called(provider, 2)
        if trouble != "hangs":
            assert {"error", "warning"} >= {entry["log_level"] for entry in logged} >= {"error"}
            assert any(entry["expired"] for entry in logged)

        provider.status, provider.published, provider.document = 200, ["k1"], ...
        provider.answers.set()
        await until_status(200, tokens, provider.token())


async def test_a_failing_provider_makes_an_unknown_key_503_and_leaves_known_ones(
    provider: IdentityProvider, no_pause: None
) -> None:
    async with refreshing(provider) as tokens:
        provider.status = 500
        assert await status_of(tokens, provider.token("k2")) == 503
        assert await status_of(tokens, provider.token("k1")) == 200


async def test_one_key_that_cannot_be_read_does_not_take_the_others_along(
    provider: IdentityProvider,
) -> None:
    off_the_curve = provider.public("bad") | {"x": provider.public("k1")["y"]}
    provider.document = {
        "keys": [off_the_curve, None, {"kty": "unheard of"}, provider.public("k1")]
    }
    async with refreshing(provider) as tokens:
        assert await status_of(tokens, provider.token("bad")) == 401


async def test_metrics_say_how_old_the_keys_are(provider: IdentityProvider, no_pause: None) -> None:
    def value(name: str, **labels: str) -> float:
        return REGISTRY.get_sample_value(name, {"used_by": "test", **labels}) or 0.0

    failed = ("orderflow_signing_key_fetches_total", {"outcome": "failed"})
    async with refreshing(provider) as tokens:
        fetched = value("orderflow_signing_keys_fetched_timestamp_seconds")
        assert fetched > 0
        assert value("orderflow_signing_keys_expire_timestamp_seconds") == fetched + LONG
        provider.status = 500
        before = value(failed[0], **failed[1])
        await status_of(tokens, provider.token("k2"))
        assert value(failed[0], **failed[1]) > before
        assert value("orderflow_signing_keys_fetched_timestamp_seconds") == fetched
