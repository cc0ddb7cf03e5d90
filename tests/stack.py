"""The servers that tests run against: one door, whether they come from packages or containers.

`infrastructure()` gives Kafka and PostgreSQL; `running_stack()` the whole system on top, its
services as processes of this machine. Both start from nothing and stop at the end; the logs of
the last run stay in `.local/test-*/logs`.

`TEST_SERVERS=containers` takes Kafka and PostgreSQL from their images, `local` (the default) from
packages. The tests are the same. The choice is said, not found out: a test run must not depend on
whether an engine happens to answer. `none` refuses both: `make check` runs the tests that are not
marked `servers`, and a test that lacks the mark fails there.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from deploy.local.errors import StackError
from deploy.local.home import PROJECT
from deploy.local.stack import LocalStack

# One for every set of servers that is there at the same time: each process of a test run has up to
# four.
HOMES = tuple(PROJECT / ".local" / f"test-{number}" for number in range(1, 33))


@contextlib.contextmanager
def infrastructure() -> Iterator[LocalStack]:
    """Kafka with its topics, and PostgreSQL.

    Tests use `kafka`, `postgres` and `create_database(name)`, which gives a fresh empty database.
    """
    with _home({}, {}) as stack:
        yield stack


@contextlib.contextmanager
def running_stack(
    *, env: Mapping[str, str] | None = None, replicas: Mapping[str, int] | None = None
) -> Iterator[LocalStack]:
    """The whole system; `env` goes to every service, `replicas` counts processes by service.

    Tests use `gateway`, `stripe`, `kafka`, `postgres`, `token(customer, *roles)`, and
    `start(process, env=...)`, `stop(process)`, `kill(process)`.
    """
    with _home(env or {}, replicas or {}) as stack:
        stack.up()
        yield stack


@contextlib.contextmanager
def _home(env: Mapping[str, str], replicas: Mapping[str, int]) -> Iterator[LocalStack]:
    with contextlib.ExitStack() as cleanup:
        stack = _free_home(cleanup, env, replicas)
        # What a test run left that was killed.
        stack.clean()
        cleanup.callback(_discard, stack)
        stack.up_infrastructure()
        yield stack


def _free_home(
    cleanup: contextlib.ExitStack, env: Mapping[str, str], replicas: Mapping[str, int]
) -> LocalStack:
    for home in HOMES:
        stack = _stack(home, env, replicas)
        try:
            cleanup.enter_context(stack.home.lock())
        except StackError:
            continue
        return stack
    raise StackError(
        f"{len(HOMES)} sets of servers are in use in this checkout",
        todo="wait until another test run has ended",
    )


def _in_containers() -> bool:
    choice = os.environ.get("TEST_SERVERS", "local")
    if choice == "none":
        raise StackError(
            "TEST_SERVERS is none, and this test needs servers",
            todo="add its fixture or path to those that tests/conftest.py marks `servers`",
        )
    if choice not in ("local", "containers"):
        raise StackError(
            f"TEST_SERVERS is {choice!r}", todo="set it to local or containers, or not at all"
        )
    return choice == "containers"


def _stack(home: Path, env: Mapping[str, str], replicas: Mapping[str, int]) -> LocalStack:
    if not _in_containers():
        return LocalStack(home, environment=env, replicas=replicas)
    # Slow to import, and needless without an engine.
    from tests.containers import KafkaInContainer, PostgresInContainer

    return LocalStack(
        home,
        environment=env,
        replicas=replicas,
        kafka=KafkaInContainer,
        postgres=PostgresInContainer,
    )


def _discard(stack: LocalStack) -> None:
    stack.down()
    if _in_containers():
        from tests.containers import remove_containers

        remove_containers(stack)
