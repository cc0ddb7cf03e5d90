"""A developer looks into parked messages at the command line."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import asyncpg
import pytest
from typer.testing import CliRunner

from services.kit.migrate import migrate
from services.kit.parked import app

Run = Callable[..., str]


@pytest.fixture
def parked(database: str, tmp_path: Path) -> Run:
    """Runs the command on a database with one parked message and one that waits behind it."""

    async def prepare() -> None:
        await migrate(database, tmp_path)
        db = await asyncpg.connect(database)
        await db.execute(
            """
            INSERT INTO parked_messages (state, message_type, source_topic, source_partition,
                                         source_offset, key, headers, payload, reason, attempts)
            VALUES ('parked', 'order.cancel-order.v1', 'order.commands', 3, 17, 'k1',
                    '{"ce_type": "eA==", "empty": null}', '{"a": 1}', 'there is no order', 1),
                   ('waiting', NULL, 'order.commands', 3, 18, 'k1', '{}', NULL, 'waits', 0)
            """
        )
        await db.close()

    asyncio.run(prepare())

    def run(*arguments: str, fails: bool = False) -> str:
        result = CliRunner(env={"DATABASE_URL": database, "COLUMNS": "200"}).invoke(app, arguments)
        assert (result.exit_code != 0) == fails, result.output
        return result.output

    return run


def test_the_list_shows_what_is_parked_and_what_waits(parked: Run) -> None:
    told = parked("list")
    assert "there is no order" in told
    assert "waiting" in told


def test_one_message_is_shown_with_headers_and_payload(parked: Run) -> None:
    told = parked("show", "1")
    assert "ce_type: x" in told
    assert '{"a": 1}' in told
    assert "empty: null" in told
    assert "there is no parked message 99" in parked("show", "99", fails=True)


def test_a_replay_is_asked_for_once(parked: Run) -> None:
    assert "1 to be replayed" in parked("replay", "--all")
    assert "not in a state for that: 1" in parked("replay", "1", fails=True)
    assert "say which" in parked("replay", fails=True)


def test_discarding_needs_a_reason_and_frees_what_waits(parked: Run) -> None:
    parked("discard", "1", fails=True)
    assert "1 discarded" in parked("discard", "1", "--reason", "a test order")
    assert "there is no order" not in parked("list")
    assert "there is no order" in parked("list", "--everything")
