"""An identity provider over real HTTP that rotates and withdraws keys, errs and hangs."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec


class IdentityProvider:
    """Holds one signing key per key id; `published` are the ids that the document has now."""

    def __init__(self, url: str = "") -> None:
        self.url = url
        self.published: list[str] = ["k1"]
        self.document: Any = ...
        """Served instead of the published keys, unless it is `...`."""
        self.status = 200
        self.answers = asyncio.Event()
        """While it is not set, a request gets no answer."""
        self.answers.set()
        self.requests = 0
        self._private: dict[str, ec.EllipticCurvePrivateKey] = {}

    def token(self, key_id: str = "k1", subject: str = "thandi") -> str:
        """A good token, signed with the key of that id."""
        claims = {"sub": subject, "exp": datetime.now(UTC) + timedelta(hours=1)}
        return jwt.encode(claims, self._key(key_id), "ES256", headers={"kid": key_id})

    def public(self, key_id: str) -> dict[str, Any]:
        key = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(self._key(key_id).public_key()))
        return {**key, "kid": key_id, "alg": "ES256"}

    def _key(self, key_id: str) -> ec.EllipticCurvePrivateKey:
        return self._private.setdefault(key_id, ec.generate_private_key(ec.SECP256R1()))

    async def serve(self, _request: web.Request) -> web.Response:
        self.requests += 1
        await self.answers.wait()
        document = self.document
        if document is ...:
            document = {"keys": [self.public(key_id) for key_id in self.published]}
        return web.json_response(document, status=self.status)


@asynccontextmanager
async def running_provider() -> AsyncIterator[IdentityProvider]:
    provider = IdentityProvider()
    app = web.Application()
    app.router.add_get("/keys", provider.serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    provider.url = f"http://127.0.0.1:{runner.addresses[0][1]}/keys"
    try:
        yield provider
    finally:
        provider.answers.set()
        await runner.cleanup()
