"""A question that takes long, asked by several people at once, keeps no other from its answer."""

import asyncio

from deploy.local.tokens import token
from tests.ops.conftest import Watch, history
from tests.ops.console.conftest import SECRET, Somebody, console, updated, visitor

__all__ = ["console", "visitor"]

CONNECTIONS = 4
"""Of the pool that the tests give to ops: as many as its setting's default."""


async def test_proofs_of_the_audit_do_not_take_all_connections(
    watch: Watch, visitor: Somebody
) -> None:
    shown = history()
    await watch.hears(*shown, updated(shown[0].order_id, version=3))
    bearer = {"Authorization": f"Bearer {token(SECRET, 'naledi', 'viewer')}"}

    async def status(address: str) -> int:
        return (await visitor.client.get(address, headers=bearer)).status_code

    waiting = "SELECT count(*) FROM pg_locks WHERE relation = $1::text::regclass AND NOT granted"
    async with watch.owner.transaction():
        await watch.owner.execute("LOCK TABLE audit_records")
        proofs = [asyncio.create_task(status("/v1/audit/verdict"))]
        async with asyncio.timeout(30):
            while not await watch.owner.fetchval(waiting, "audit_records"):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        more = ["/v1/audit/verdict", "/v1/verdict"] * CONNECTIONS
        proofs += [asyncio.create_task(status(address)) for address in more]
        async with asyncio.timeout(30):
            while not all(proof.done() for proof in proofs[1:]):
                if await watch.owner.fetchval(waiting, "audit_records") == CONNECTIONS:
                    break
                await asyncio.sleep(0.02)
            assert await status("/v1/orders") == 200  # reads another table
        # The first one waits for the table all the same.
        assert not proofs[0].done()
    assert await proofs[0] == 200
    assert set(await asyncio.gather(*proofs[1:])) == {503}
    assert await status("/v1/audit/verdict") == 200
