"""Errors by who acts on them. Time heals infrastructure errors, a person heals the rest.

    KitError
    ├── Retry                 time: the same call may succeed later
    │   └── BrokerUnavailable   Kafka did not acknowledge
    └── Park                  a person: this message cannot be handled as it is
        ├── Undecodable         not a message of ours: bad JSON, unknown type, broken headers
        └── Expired             older than the inbox remembers: a repeat could not be told

Everything that a handler raises and that `is_infrastructure` does not know is the message's own
fault: the batch is cut until the culprit stands alone, and it is parked after a few attempts.
"""

import asyncio
from typing import Final

import asyncpg
from aiokafka.errors import KafkaError


class KitError(Exception):
    """Base of everything that the kit raises by itself."""


class Retry(KitError):  # noqa: N818  # names say what to do, not that they are errors
    """Infrastructure is away: roll back, wait, do the same again. Costs no message an attempt."""


class BrokerUnavailable(Retry):
    """Kafka did not acknowledge in time; it is unknown whether the message is on the topic."""


class Park(KitError):  # noqa: N818
    """The message cannot be handled by trying again."""


class Undecodable(Park):
    """The record is not a message that this service understands."""


class Expired(Park):
    """The message is older than the inbox remembers, so a repeat could not be recognised."""


INFRASTRUCTURE: Final = (
    Retry,
    KafkaError,
    OSError,  # includes ConnectionError and, since 3.11, TimeoutError
    asyncio.IncompleteReadError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,  # "connection is closed", pool closing
    asyncpg.InternalClientError,  # a statement met a connection that was just told of a shutdown
    asyncpg.InsufficientResourcesError,  # disk full, out of memory, too many connections
    asyncpg.OperatorInterventionError,  # shutdown, query cancelled by the server's operator
    asyncpg.TransactionRollbackError,  # deadlock, serialization failure
    asyncpg.ReadOnlySQLTransactionError,  # a fail-over in progress
    asyncpg.LockNotAvailableError,
    asyncpg.InvalidCachedStatementError,  # a newer replica migrated; asyncpg has forgotten its plan
)


def is_infrastructure(error: BaseException) -> bool:
    """Whether waiting, rather than a person, will mend this error."""
    if isinstance(error, asyncpg.InterfaceError) and not isinstance(error, asyncpg.DataError):
        # asyncpg raises InterfaceError for wrong arguments too; those name the query argument.
        return "query argument" not in str(error)
    return isinstance(error, INFRASTRUCTURE)
