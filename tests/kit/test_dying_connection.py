"""A connection whose server has just died is no message's fault, whatever asyncpg calls it."""

import asyncio
import time

import asyncpg
import pytest

from services.kit.errors import is_infrastructure


@pytest.mark.parametrize("turns", range(4))
async def test_a_connection_that_dies_while_idle_is_infrastructure(
    database: str, turns: int
) -> None:
    """The server's last words and the end of its stream may be read in different turns of the
    event loop; a statement in between meets a connection that is neither well nor closed."""
    dying = await asyncpg.connect(database)
    other = await asyncpg.connect(database)
    try:
        await other.execute("SELECT pg_terminate_backend($1)", dying.get_server_pid())
        time.sleep(0.1)  # noqa: ASYNC251  # the loop must not read before both have arrived
        for _ in range(turns):
            await asyncio.sleep(0)
        with pytest.raises(Exception) as raised:  # noqa: PT011
            await dying.execute("BEGIN")
        assert is_infrastructure(raised.value), repr(raised.value)
    finally:
        await other.close()
        dying.terminate()
