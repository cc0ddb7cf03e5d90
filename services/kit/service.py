"""One service process: its pool, consumer, outbox and timers, started and stopped in order.

service = Service(name="inventory", settings=settings, migrations=..., consumes=(...,),
                  handlers=HANDLERS)

@service.every(seconds=0.5, name="publish_catalog")
async def publish_catalog(work: Work) -> None: ...

service.run()
"""

import asyncio
import gc
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import uvicorn
from aiokafka.admin import AIOKafkaAdminClient
from starlette.applications import Starlette
from starlette.routing import Route

from contracts.message import Message
from contracts.topics import DEAD_LETTERS, Topic
from services.kit import inbox
from services.kit.consumer import Consumer
from services.kit.db import Pool, open_pool
from services.kit.errors import KitError, is_infrastructure
from services.kit.health import health_routes
from services.kit.migrate import migrate
from services.kit.outbox import Outbox
from services.kit.parking import Replayer
from services.kit.processor import BatchProcessor
from services.kit.publisher import Publisher
from services.kit.settings import ServiceSettings
from services.kit.telemetry import TASK_FAILURES, configure_logging, log
from services.kit.trace import Tracing
from services.kit.work import Handler, Publish, UnitOfWork, Work

Periodic = Callable[[Work], Awaitable[None]]
Background = Callable[["Service"], Awaitable[None]]


class MissingTopics(KitError):  # noqa: N818
    """Topics that this service needs are not on the broker."""


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
    ) -> None:
        self.name = name
        self.settings = settings
        self._migrations = migrations
        self._consumes = consumes
        self._emits = (*emits, DEAD_LETTERS[name])
        self._handlers = handlers
        self._background: dict[str, Background] = {}
        self._on_start: list[Periodic] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._unit_of_work: UnitOfWork
        self._outbox: Outbox
        self._consumer: Consumer | None = None
        self._missing = {"database": "not connected yet"}

    # -- declaring -----------------------------------------------------------------------------

    def every(self, *, seconds: float, name: str) -> Callable[[Periodic], Periodic]:
        """Call the function in a transaction of its own, again and again."""

        def register(call: Periodic) -> Periodic:
            async def repeat(_service: "Service") -> None:
                while True:
                    async with self.transaction() as work:
                        await call(work)
                    # Replicas that started together must not go on in step.
                    await asyncio.sleep(seconds * random.uniform(0.9, 1.1))  # noqa: S311

            self._background[name] = repeat
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
            self._background[name] = call
            return call

        return register

    # -- using ---------------------------------------------------------------------------------

    def transaction(self, publish: Publish = "now") -> AbstractAsyncContextManager[Work]:
        """A transaction whose messages are published after its commit: see `UnitOfWork`."""
        return self._unit_of_work.begin(publish)

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
        if self._consumer is not None and not self._consumer.ready:
            missing.setdefault("kafka", "group not joined yet")
        return missing

    def run(self, app: Any = None) -> None:
        """Serve until SIGTERM; `app` is an ASGI application whose lifespan is `lifespan`."""
        configure_logging(self.name, self.settings.log_level, self.settings.log_format)
        _spare_the_garbage_collector()
        uvicorn.run(
            app or Starlette(routes=self.health_routes(), lifespan=self.lifespan),
            host=self.settings.http_host,
            port=self.settings.http_port,
            loop="uvloop",
            http="httptools",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=5,
        )

    @asynccontextmanager
    async def lifespan(self, _app: Any = None) -> AsyncIterator[None]:
        """Everything that runs beside the HTTP server."""
        settings = self.settings
        tracing = Tracing(self.name, settings.otel_exporter_otlp_endpoint)
        self.pool = await open_pool(
            settings.database_url, size=settings.database_pool_size, application=self.name
        )
        await migrate(settings.database_url, self._migrations)
        self._missing = {"kafka": "not connected yet"}
        self.producer = Publisher(settings.kafka_bootstrap_servers, self.name)
        self._outbox = Outbox(
            self.pool, self.producer, timedelta(seconds=settings.outbox_lease_seconds)
        )
        self._unit_of_work = UnitOfWork(self.pool, self._outbox, self.name)
        for call in self._on_start:
            async with self.transaction() as work:
                await call(work)
        retention = timedelta(days=settings.inbox_retention_days)
        processor = BatchProcessor(
            self.name,
            self._unit_of_work,
            self._handlers,
            attempts=settings.message_attempts,
            inbox_retention=retention,
            kept_for_ever=[topic.name for topic in self._consumes if topic.compacted],
            keep_trying=lambda: self._consumer is None or self._consumer.keep_trying(),
        )
        self._consumer = Consumer(self.name, self._consumes, settings, processor, tracing)
        self._add_kit_tasks(retention)
        for name, task in self._background.items():
            self._tasks.append(asyncio.create_task(self._keep_running(name, task), name=name))
        log.info("service started", port=settings.http_port)
        try:
            yield
        finally:
            await self._stop()
            tracing.shutdown()

    # -- inside --------------------------------------------------------------------------------

    def _add_kit_tasks(self, retention: timedelta) -> None:
        consumer, outbox = self._consumer, self._outbox
        assert consumer is not None  # noqa: S101  # for the type checker
        accepted = {message.wire_type: message for message in self._handlers}
        replayer = Replayer(self._unit_of_work, accepted, self._handlers)

        async def consume(_service: Service) -> None:
            await self._check_topics()
            await consumer.start()
            self._missing = {}
            await consumer.commit_regularly()

        async def measure(_service: Service) -> None:
            await consumer.measure_regularly()

        async def forget(_service: Service) -> None:
            while True:
                await outbox.forget()
                await asyncio.sleep(0.5)  # well within the lease

        async def sweep(_service: Service) -> None:
            while True:
                if await outbox.sweep() == 0:
                    await asyncio.sleep(random.uniform(0.8, 1.2))  # noqa: S311  # see `every`

        async def replay(_service: Service) -> None:
            while True:
                await replayer.run_due()
                await asyncio.sleep(1.0)

        async def maintain(_service: Service) -> None:
            while True:
                async with self.pool.acquire() as db:
                    await inbox.maintain(db, retention)
                await asyncio.sleep(3600)

        self._background |= {
            "consume": consume,
            "measure_lag": measure,
            "forget_outbox": forget,
            "sweep_outbox": sweep,
            "replay_parked": replay,
            "maintain_inbox": maintain,
        }

    async def _check_topics(self) -> None:
        """An unknown topic would only fail after 40 s, and without saying so.

        Raises:
            MissingTopics: with what to do.
        """
        admin = AIOKafkaAdminClient(bootstrap_servers=self.settings.kafka_bootstrap_servers)
        try:
            await admin.start()
            known = set(await admin.list_topics())
        finally:
            await admin.close()
        missing = {topic.name for topic in (*self._consumes, *self._emits)} - known
        if missing:
            raise MissingTopics(
                f"no such topics: {', '.join(sorted(missing))}; "
                "run `python -m deploy.create_topics` and start again"
            )

    async def _keep_running(self, name: str, call: Background) -> None:
        pause = 0.2
        while True:
            started = asyncio.get_running_loop().time()
            try:
                await call(self)
                return
            except Exception as error:
                TASK_FAILURES.labels(name).inc()
                if asyncio.get_running_loop().time() - started > 60:
                    pause = 0.2
                if is_infrastructure(error) or isinstance(error, KitError):
                    log.warning("task waits", task=name, error=str(error) or repr(error))
                else:
                    log.exception("task failed", task=name)
            await asyncio.sleep(pause)
            pause = min(pause * 2, 5.0)

    async def _stop(self) -> None:
        log.info("service stopping")
        if self._consumer is not None:
            try:
                async with asyncio.timeout(15):
                    await self._consumer.stop()
            except Exception as error:
                log.warning("consumer did not stop cleanly", error=repr(error))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._unit_of_work.settle()
        await self._outbox.flush()
        await self.producer.stop()
        try:
            async with asyncio.timeout(5):
                await self.pool.close()
        except TimeoutError:
            self.pool.terminate()
        log.info("service stopped")


def _spare_the_garbage_collector() -> None:
    """Let it look at new objects seldom, and never again at what the imports made.

    A batch makes tens of thousands of objects, hardly any of them in cycles; with Python's own
    thresholds, looking for cycles among them took a fifth of the CPU time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 50)
