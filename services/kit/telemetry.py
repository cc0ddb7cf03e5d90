"""Logs and metrics. One log line per batch or event of note, never one per message.

At level info a healthy service is silent between its start and its stop; per-batch lines are
level debug. Everything countable is a Prometheus metric.
"""

import logging
import sys
from typing import Literal

import structlog
from prometheus_client import Counter, Gauge, Histogram

log: structlog.stdlib.BoundLogger = structlog.get_logger()

CONSUMED = Counter(
    "orderflow_messages_consumed_total", "Messages handled for the first time", ["type"]
)
DUPLICATES = Counter(
    "orderflow_messages_duplicate_total", "Messages skipped because their id was known"
)
PARKED = Counter("orderflow_messages_parked_total", "Messages parked", ["reason"])
PARKED_NOW = Gauge("orderflow_parked_now", "Messages that are parked or wait behind one")
PUBLISHED = Counter("orderflow_messages_published_total", "Messages acknowledged by Kafka")
PUBLISH_FAILURES = Counter(
    "orderflow_publish_failures_total", "Attempts to publish that Kafka did not acknowledge"
)
SWEPT = Counter("orderflow_outbox_swept_total", "Messages that the sweeper published")
UNPUBLISHABLE_NOW = Gauge(
    "orderflow_unpublishable_now", "Messages of this service that Kafka will never take"
)
OUTBOX_HELD_FOR = Gauge(
    "orderflow_outbox_partitions_held", "Partitions that take nothing while outbox rows wait"
)
OUTBOX_AGE = Gauge("orderflow_outbox_oldest_seconds", "Age of the oldest unpublished outbox row")
REJOINS = Counter(
    "orderflow_consumer_restarts_total",
    "Times that the consumer joined anew, as its client heard nothing or got no answers",
)
BATCH_SIZE = Histogram(
    "orderflow_batch_records",
    "Records per batch",
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000),
)
BATCH_SECONDS = Histogram(
    "orderflow_batch_seconds",
    "From a batch taken to its commit",
    buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 30),
)
TRANSACTION_SECONDS = Histogram(
    "orderflow_transaction_seconds",
    "The database's part of a batch",
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
)
PUBLISH_SECONDS = Histogram(
    "orderflow_publish_seconds",
    "From commit to Kafka's acknowledgement",
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 30),
)
INFRASTRUCTURE_RETRIES = Counter(
    "orderflow_infrastructure_retries_total", "Batches tried again because infrastructure failed"
)
LAG = Gauge("orderflow_consumer_lag", "Records on the broker not yet handled", ["topic"])
LAG_SECONDS = Gauge(
    "orderflow_consumer_lag_seconds", "Age of the oldest record not yet handled", ["topic"]
)
JOINED = Gauge(
    "orderflow_consumer_joined", "1 while this process is in its consumer group, with a broker"
)
STALLED = Gauge(
    "orderflow_consumer_stalled_seconds",
    "Time without a finished batch although there is work, and nobody to wait for",
)
DATABASE_WEAKNESSES = Gauge(
    "orderflow_database_weaknesses",
    "Settings of the database server with which it can lose commits; in production only",
)
FORGOTTEN_COMMITS = Gauge(
    "orderflow_forgotten_commits",
    "1 while the service refuses a database that lacks commits whose effects Kafka has",
)
STATEMENTS = Counter("orderflow_database_statements_total", "SQL statements sent")
TASK_FAILURES = Counter("orderflow_task_failures_total", "Failed background tasks", ["task"])


def configure_logging(
    service: str, level: Literal["debug", "info", "warning", "error"], form: str
) -> None:
    """Send structlog and the standard library's logging to stderr in one shape."""
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    renderer: structlog.types.Processor = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                renderer,
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    for chatty in ("aiokafka", "uvicorn", "httpx", "stripe"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # Its errors are the kit's to report: it logs one line per partition and attempt.
    logging.getLogger("aiokafka.consumer.group_coordinator").setLevel(logging.CRITICAL)
    structlog.contextvars.bind_contextvars(service=service)
