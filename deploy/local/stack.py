"""The whole system on one machine without containers: `LocalStack` starts, stops and kills it.

Everything it knows is in its home folder, so any command finds what an earlier one started:
kept ports and secrets (`home.py`), process records (`process.py`), and `stack.json`, which tells
people and programs where things are (`directory.py`).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import signal
import threading
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import httpx

from deploy.create_topics import create_topics
from deploy.local.directory import Directory, is_service
from deploy.local.errors import StackError
from deploy.local.home import PROJECT, Home, write_private
from deploy.local.kafka import Kafka
from deploy.local.postgres import Postgres
from deploy.local.services import SMTP, SMTP_PORT, STRIPE, console_port, service_of

SECONDS_TO_READY = 60
# A service finishes the batch in hand, publishes it and leaves its group, in about 10 s.
SECONDS_TO_STOP = 20


class LocalStack(Directory):
    """One system. Creating it starts nothing, and finds what was started in that home before.

    `environment` is given to every service; `only` names the services that there are, without it
    all; `replicas` says how many processes of a service `up`
    starts (1 unless said); `brokers` is the size of the Kafka cluster, where three make copies of
    everything. `linked` is for tests of the network: every service then talks over links
    (`links()`), which the caller must serve before it starts one. `kafka` and `postgres` are how
    the servers are run: from packages, unless a test has them in containers.
    Processes outlive the caller: end with `down`.
    Methods raise StackError, whose text says what failed and what to do.
    """

    def __init__(
        self,
        home: Path,
        *,
        environment: Mapping[str, str] | None = None,
        only: Collection[str] | None = None,
        replicas: Mapping[str, int] | None = None,
        brokers: int = 1,
        linked: bool = False,
        kafka: type[Kafka] = Kafka,
        postgres: type[Postgres] = Postgres,
        say: Callable[[str], None] = print,
    ) -> None:
        super().__init__(
            Home(home, say),
            environment or {},
            only=only,
            brokers=brokers,
            linked=linked,
            kafka=kafka,
            postgres=postgres,
        )
        self._replicas = dict(replicas or {})
        self._say = say
        self._writing = threading.Lock()

    # -- the whole -------------------------------------------------------------------------

    def up(self) -> None:
        """Starts what does not run and leaves the rest; returns when everything is ready."""
        names = [name for service in self.services for name in self._names(service.name)]
        # Stripe's stand-in is told the gateway's port, which therefore must not move any more.
        standins = [STRIPE.name, *([SMTP.name] if "notification" in names else [])]
        for name in (*standins, *names):
            self._claim_port(name)
        _together([self.up_infrastructure, *[partial(self._ensure, name) for name in standins]])
        _together([partial(self._ensure, name) for name in names])
        self._write_stack_file()

    def up_infrastructure(self, *, topics: bool = True) -> None:
        """Starts PostgreSQL and Kafka, there with the topics of the contracts if wanted."""
        self.home.check_disk()

        def kafka() -> None:
            _together([partial(self._ensure, name) for name in self.brokers])
            if topics:
                for line in asyncio.run(create_topics(self.kafka)):
                    if line.startswith("DIFFERENT"):
                        self._say(f"warning: topic {line}")

        _together([kafka, partial(self._ensure, "postgres")])
        self._write_stack_file()

    def down(self) -> None:
        """Stops everything that runs, services first. Data, ports and secrets stay."""
        recorded = self.recorded()
        services = {name for name in recorded if is_service(name)}
        for names in (services, recorded - services):
            _together([partial(self.stop, name) for name in sorted(names)])
        self.home.stack_file.unlink(missing_ok=True)

    def clean(self) -> None:
        """Stops everything and removes the home's data; downloads in the cache stay."""
        self.down()
        self.home.remove()

    # -- one process -----------------------------------------------------------------------

    def start(
        self,
        name: str,
        *,
        env: Mapping[str, str] | None = None,
        wait: bool = True,
        source: Path = PROJECT,
    ) -> None:
        """Starts one process, by default waiting until it is ready. For this start and for
        services only: `env`, and `source`, the checkout whose code runs, which may be another
        release; packages are those of this one either way."""
        process = self.process(name)
        if process.pid is not None:
            raise StackError(f"{name} runs already", todo="stop it first", log=process.log)
        begun = time.monotonic()
        if server := self.infrastructure.get(name):
            server.start()
        else:
            self._claim_port(name)
            process.start(
                service_of(name).command,
                self.environment_of(name) | dict(env or {}),
                settings=self._digest(name),
                folder=source,
            )
            if wait:
                self.wait_ready(name)
        state = "ready" if wait else "started"
        self._say(f"{name:<12} {state:<8} {time.monotonic() - begun:>5.1f} s   {self.where(name)}")
        self._write_stack_file()

    def wait_ready(self, name: str, *, seconds: float = SECONDS_TO_READY) -> None:
        """Returns once the process can do its work; of a service, its readiness path says so."""
        if server := self.infrastructure.get(name):
            server.wait_ready()
            return
        url = f"{self.url(name)}{service_of(name).ready}"
        with httpx.Client(trust_env=False, timeout=5) as client:
            self.process(name).wait_until(
                lambda: _answers(client, url),
                seconds=seconds,
                todo="correct what the log says, then start again",
            )

    def stop(self, name: str) -> bool:
        """Stops one process cleanly; kills it, says so and returns False, if it does not end in
        time."""
        process = self.process(name)
        if process.pid is None:
            process.forget()
            return True
        begun = time.monotonic()
        if server := self.infrastructure.get(name):
            clean = server.stop()
        else:
            clean = process.stop(signal.SIGTERM, seconds=SECONDS_TO_STOP)
        how = "stopped" if clean else "killed"
        why = "" if clean else f"   it did not stop in time, see {process.log}"
        self._say(f"{name:<12} {how:<8} {time.monotonic() - begun:>5.1f} s{why}")
        return clean

    def restart(self, name: str) -> None:
        """Stops and starts one process."""
        self.stop(name)
        self.start(name)

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """Sends a signal to one process: SIGKILL, and waits for its end, unless another is named.

        SIGQUIT to `postgres` is its immediate shutdown.
        """
        self.process(name).send(number)

    # -- inside ----------------------------------------------------------------------------

    def _names(self, service: str) -> list[str]:
        further = range(2, self._replicas.get(service, 1) + 1)
        return [service, *(f"{service}-{number}" for number in further)]

    def _ensure(self, name: str) -> None:
        process = self.process(name)
        if process.pid is None:
            self.start(name)
        elif name not in self.infrastructure and process.settings != self._digest(name):
            self._say(f"note: a setting or an address of {name} has changed, so it restarts")
            self.restart(name)
        else:
            self.wait_ready(name)
            self._say(f"{name:<12} {'runs':<18} {self.where(name)}")

    def _claim_port(self, name: str) -> None:
        if self.process(name).pid is None:
            self.home.claim_port(name)
            if name == SMTP.name:
                self.home.claim_port(SMTP_PORT)
            if service_of(name).name == "ops":
                self.home.claim_port(console_port(name))

    def _digest(self, name: str) -> str:
        environment = self.environment_of(name)
        names = service_of(name).setting_names() | self.addresses_for(name).keys()
        read = {key: environment[key] for key in sorted(names) if key in environment}
        return hashlib.sha256(json.dumps(read).encode()).hexdigest()

    def _write_stack_file(self) -> None:
        with self._writing:
            write_private(self.home.stack_file, json.dumps(self.describe(), indent=2))


def _together(steps: list[Callable[[], object]]) -> None:
    """Runs all steps at once and to their ends; raises what the first failed one raised."""
    with ThreadPoolExecutor(max_workers=len(steps) or 1) as pool:
        for done in [pool.submit(step) for step in steps]:
            done.result()


def _answers(client: httpx.Client, url: str) -> bool:
    try:
        return client.get(url).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False
