"""One service process: its pool, consumer, outbox and timers, started and stopped in order.

service = Service(name="inventory", settings=settings, migrations=..., consumes=(...,),
                  handlers=HANDLERS)

@service.every(seconds=0.5, name="publish_catalog")
async def publish_catalog(work: Work) -> None: ...

service.run()
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.routing import Route

from contracts.message import Message
from contracts.topics import DEAD_LETTERS, OPERATIONS, Topic
from services.kit import inbox, operations
from services.kit.consumer import Consumer
from services.kit.db import Pool, open_pool, wait_for_database
from services.kit.durability import Durability, weaknesses
from services.kit.failover import FailoverGuard
from services.kit.garbage import spare_the_garbage_collector
from services.kit.health import health_routes
from services.kit.migrate import migrate
from services.kit.outbox import Outbox
from services.kit.parking import Replayer
from services.kit.processor import BatchProcessor, Observer
from services.kit.publisher import Publisher
from services.kit.serving import serve
from services.kit.settings import ServiceSettings
from services.kit.tasks import Tasks, repeating
from services.kit.telemetry import configure_logging, log
from services.kit.topics import check_topics
from services.kit.trace import Tracing
from services.kit.undone import undone_time
from services.kit.work import Handler, Publish, UnitOfWork, Work

_OF_ITS_OWN = 3
"""Connections of the consumer, outbox and replays alone: many requests must not hold up messages,
or the views fall behind, and whoever watches them asks again."""

Periodic = Callable[[Work], Awaitable[None]]
Background = Callable[["Service"], Awaitable[None]]


class Service:
    """Wires the kit for one service; see the module's docstring."""

    pool: Pool
    producer: Publisher

    def __init__(
        self,
        *,
        name: str,
        settings: ServiceSettings,
        migrations: Path,
        consumes: Sequence[Topic],
        handlers: Mapping[type[Message], Handler],
        emits: Sequence[Topic] = (),
        observer: Observer | None = None,
        ready_without_broker: bool = False,
    ) -> None:
        """`observer`: gets whatever has no handler, see `BatchProcessor`. `ready_without_broker`:
        once it was there, a service that can still do its part when the broker goes away (the
        outbox keeps what it sends) stays ready."""
        self.name = name
        self.settings = settings
        self._migrations = migrations
        self._consumes = (*consumes, OPERATIONS[name])
        self._emits = (*emits, DEAD_LETTERS[name])
        self._handlers = {**handlers, **operations.handlers(name)}
        self._observer = observer
        self._on_start: list[Periodic] = []
        self._tasks = Tasks()
        self._unit_of_work: UnitOfWork
        self._consuming: UnitOfWork
        self._outbox: Outbox
        self._consumer: Consumer | None = None
        self._ready_without_broker = ready_without_broker
        self._missing = {"database": "not connected yet"}
        self._failover_guard = FailoverGuard(name, settings)

    # -- declaring -----------------------------------------------------------------------------

    def every(self, *, seconds: float, name: str) -> Callable[[Periodic], Periodic]:
        """Call the function in a transaction of its own, again and again."""

        def register(call: Periodic) -> Periodic:
            async def once() -> None:
                async with self.transaction() as work:
                    await call(work)

            self._tasks.add(name, repeating(once, seconds=seconds))
            return call

        return register

    def on_start(self, call: Periodic) -> Periodic:
        """Call the function once, after the migrations and before anything is consumed; what it
        raises stops the start."""
        self._on_start.append(call)
        return call

    def background(self, *, name: str) -> Callable[[Background], Background]:
        """Run the coroutine from start to stop; it is started again when it fails."""

        def register(call: Background) -> Background:
            self._tasks.add(name, partial(call, self))
            return call

        return register

    # -- using ---------------------------------------------------------------------------------

    def transaction(self, publish: Publish = "now") -> AbstractAsyncContextManager[Work]:
        """A transaction whose messages are published after its commit: see `UnitOfWork`."""
        return self._unit_of_work.begin(publish)

    @property
    def caught_up(self) -> bool:
        """Whether this process has handled all that waited when it joined its group."""
        return self._consumer is not None and self._consumer.caught_up

    def health_routes(self) -> list[Route]:
        return health_routes(self)

    def liveness(self) -> str | None:
        consumer = self._consumer
        if consumer is None or not consumer.stalled:
            return None
        return f"no batch finished for {consumer.stalled_for():.0f} s although there is work"

    async def readiness(self) -> dict[str, str]:
        missing = dict(self._missing)
        if "database" not in missing:
            try:
                async with self.pool.acquire(timeout=1.5) as db:
                    await db.fetchval("SELECT 1")
            except Exception as error:
                missing["database"] = repr(error)
        if self._failover_guard.refusal:
            missing["database"] = self._failover_guard.refusal
        consumer = self._consumer
        if consumer is not None and not consumer.ready:
            missing.setdefault("kafka", "group not joined yet")
        elif consumer is not None and consumer.broker_away and not self._ready_without_broker:
            missing["kafka"] = "the broker does not answer"
        return missing

    def run(self, app: Any = None, more_ports: Sequence[int] = ()) -> None:
        """Serve until SIGTERM; `app` is an ASGI application whose lifespan is `lifespan`, at
        `HTTP_PORT` and at these."""
        configure_logging(self.name, self.settings.log_level, self.settings.log_format)
        wait_for_database(
            self.settings.database_url, check=partial(weaknesses, settings=self.settings)
        )
        if owner := self.settings.migrations_database_url:
            wait_for_database(owner, setting="MIGRATIONS_DATABASE_URL")
        spare_the_garbage_collector()
        serve(
            app or Starlette(routes=self.health_routes(), lifespan=self.lifespan),
            self.settings.http_host,
            [self.settings.http_port, *more_ports],
        )

    @asynccontextmanager
    async def lifespan(self, _app: Any = None) -> AsyncIterator[None]:
        """Everything that runs beside the HTTP server."""
        settings = self.settings
        tracing = Tracing(self.name, settings.otel_exporter_otlp_endpoint)
        connect = partial(
            open_pool,
            settings.database_url,
            application=self.name,
            admit=self._failover_guard.admit,
        )
        self.pool = await connect(size=settings.database_pool_size)
        own = await connect(size=_OF_ITS_OWN)
        await migrate(settings.owner_url, self._migrations)
        await self._failover_guard.start(own, self.pool)
        self._missing = {"kafka": "not connected yet"}
        self.producer = Publisher(
            settings.kafka_bootstrap_servers, self.name, settings.max_message_bytes
        )
        self._outbox = Outbox(own, self.producer, timedelta(seconds=settings.outbox_lease_seconds))
        self._unit_of_work = UnitOfWork(self.pool, self._outbox, self.name)
        self._consuming = UnitOfWork(own, self._outbox, self.name)
        # Before anything is published: what earlier messages wait for.
        await self._outbox.look()
        for call in self._on_start:
            async with self.transaction() as work:
                await call(work)
        retention = timedelta(days=settings.inbox_retention_days)
        processor = BatchProcessor(
            self.name,
            self._consuming,
            self._handlers,
            attempts=settings.message_attempts,
            inbox_retention=retention,
            observer=self._observer,
            kept_for_ever=[topic.name for topic in self._consumes if topic.compacted],
            keep_trying=lambda: self._consumer is None or self._consumer.keep_trying(),
        )
        undone = await undone_time(self.pool)
        self._consumer = Consumer(
            self.name,
            self._consumes,
            settings,
            processor,
            tracing,
            undone,
            self._failover_guard.mark,
        )
        self._add_kit_tasks(self._consumer, processor, retention)
        self._tasks.start()
        log.info("service started", port=settings.http_port)
        try:
            yield
        finally:
            await self._stop(own)
            tracing.shutdown()

    # -- inside --------------------------------------------------------------------------------

    def _add_kit_tasks(
        self, consumer: Consumer, processor: BatchProcessor, retention: timedelta
    ) -> None:
        outbox = self._outbox
        guard = self._failover_guard
        replayer = Replayer(self.name, self._consuming, processor.accepted, processor.handler_of)

        async def consume() -> None:
            topics = (*self._consumes, *self._emits)
            await check_topics(self.settings.kafka_bootstrap_servers, topics)
            await guard.verify()
            await consumer.start()
            self._missing = {}
            await consumer.commit_regularly()

        async def sweep() -> None:
            while await outbox.sweep():
                pass

        async def maintain() -> None:
            async with self.pool.acquire() as db:
                await inbox.maintain(db, retention)

        self._tasks.add("consume", consume)
        self._tasks.add("measure_lag", consumer.look_after)
        self._tasks.add("forget_outbox", repeating(outbox.forget, seconds=0.5))  # within the lease
        self._tasks.add("sweep_outbox", repeating(sweep, seconds=1))
        self._tasks.add("retry_held", repeating(outbox.retry_held, seconds=1))
        self._tasks.add("replay_parked", repeating(replayer.run_due, seconds=1))
        self._tasks.add("maintain_inbox", repeating(maintain, seconds=3600))
        for name, call in (guard.tasks() | Durability(self.settings, self.pool).tasks()).items():
            self._tasks.add(name, call)

    async def _stop(self, own: Pool) -> None:
        log.info("service stopping")
        if self._consumer is not None:
            try:
                async with asyncio.timeout(15):
                    await self._consumer.stop()
            except Exception as error:
                log.warning("consumer did not stop cleanly", error=repr(error))
        await self._tasks.stop()
        await self._unit_of_work.settle()
        await self._consuming.settle()
        await self._outbox.flush()
        await self.producer.stop()
        for pool in (self.pool, own):
            try:
                async with asyncio.timeout(5):
                    await pool.close()
            except TimeoutError:
                pool.terminate()
        log.info("service stopped")
