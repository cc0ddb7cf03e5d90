"""The proxies on the links of a linked stack, and what they can do to what passes.

Proxies are toxiproxy's where Go is there to build it (once, into the cache), otherwise those of
`tests/faults/proxy.py`, which understands the same requests.
"""

import asyncio
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import httpx
import psutil

from deploy.local.directory import is_service
from deploy.local.home import CACHE
from deploy.local.links import Link
from deploy.local.process import Process
from deploy.local.services import service_of
from deploy.local.stack import LocalStack

TOXIPROXY_VERSION = "v2.5.0"
TOXIPROXY = f"github.com/Shopify/toxiproxy/v2/cmd/server@{TOXIPROXY_VERSION}"

UP, DOWN = "upstream", "downstream"
"""From the client to the server, and back."""
BOTH: Final = (UP, DOWN)
_HELD_MS: Final = 24 * 3600 * 1000

# What each kind of server answers at once, without a password.
_SSL_REQUEST: Final = struct.pack(">II", 8, 80877103)
_API_VERSIONS: Final = struct.pack(">ihhih", 10, 18, 0, 1, -1)
_HEALTH: Final = b"GET /healthz HTTP/1.1\r\nHost: knock\r\nConnection: close\r\n\r\n"


class Network:
    """Acts on ways: `order-kafka` is the link to all brokers, `order-kafka-2` that to the second,
    `order` are all links of that service. A way stays as it was made until `heal`.

    Start it before the stack, stop it after.
    """

    def __init__(self, stack: LocalStack, *, builtin: bool = False) -> None:
        """`builtin`: do not even try toxiproxy."""
        self._stack = stack
        self._links = {link.name: link for link in stack.links()}
        self._builtin = builtin
        self._process = Process(stack.home, "proxies")
        port = stack.home.port("proxies")
        self._api = httpx.Client(
            base_url=f"http://127.0.0.1:{port}", trust_env=False, verify=False, timeout=30
        )
        self._port = str(port)
        self._toxics: list[tuple[str, str]] = []

    @property
    def ways(self) -> list[str]:
        """One for each service and server; a cluster of brokers is one server."""
        return [link.name for link in self._links.values() if not link.server.startswith("kafka-")]

    def start(self) -> str:
        """Start the proxies, all ways open; says which proxy it is."""
        program = None if self._builtin else toxiproxy()
        if program is not None:
            which, command = f"toxiproxy {TOXIPROXY_VERSION}", [str(program), "-host", "127.0.0.1"]
        else:
            which, command = "tests/faults/proxy.py", [sys.executable, "-m", "tests.faults.proxy"]
        self._process.start([*command, "-port", self._port], os.environ | {"LOG_LEVEL": "warn"})
        self._process.wait_until(self._answers, seconds=20, todo="read the log")
        proxies = [
            {
                "name": link.name,
                "listen": f"127.0.0.1:{link.listen}",
                "upstream": f"127.0.0.1:{link.upstream}",
                "enabled": True,
            }
            for link in self._links.values()
        ]
        self._api.post("/populate", json=proxies).raise_for_status()
        return which

    def stop(self) -> None:
        """Stop the proxies."""
        self._process.stop()
        self._api.close()

    # -- what can be done to a way ---------------------------------------------------------

    async def cut(self, way: str) -> None:
        """No byte passes, connections stay open and new ones hang. What was sent meanwhile arrives
        after healing, as what TCP sends again does."""
        await self._poison(way, "latency", {"latency": _HELD_MS}, BOTH)

    async def mute(self, way: str) -> None:
        """What the client sends passes, no answer comes back."""
        await self._poison(way, "latency", {"latency": _HELD_MS}, (DOWN,))

    async def slow(self, way: str, seconds: float, *, directions: tuple[str, ...] = BOTH) -> None:
        """Everything takes longer, in each direction by that much."""
        await self._poison(way, "latency", {"latency": int(seconds * 1000)}, directions)

    async def reset(self, way: str) -> None:
        """Every open connection breaks, what was on its way is lost; new ones are reset."""
        for link in self._of(way):
            await self._post(f"/proxies/{link.name}", {"enabled": False})
        await self._poison(way, "reset_peer", {"timeout": 0}, BOTH)
        for link in self._of(way):
            await self._post(f"/proxies/{link.name}", {"enabled": True})

    async def heal(self, way: str = "") -> None:
        """Open a way, or all of them."""
        names = {link.name for link in (self._of(way) if way else self._links.values())}
        for name, toxic in [each for each in self._toxics if each[0] in names]:
            path = f"/proxies/{name}/toxics/{toxic}"
            answer = await asyncio.to_thread(self._api.delete, path)
            answer.raise_for_status()
            self._toxics.remove((name, toxic))
        for name in names:
            await self._post(f"/proxies/{name}", {"enabled": True})

    # -- what can be seen of it ------------------------------------------------------------

    async def knock(self, way: str, *, within: float = 1.0) -> float | None:
        """Seconds until the first server of a way answers over it; None if not in time."""
        link = self._of(way)[0]
        greeting = {"postgres": _SSL_REQUEST, "stripe": _HEALTH, "gateway": _HEALTH}
        began = time.monotonic()
        try:
            async with asyncio.timeout(within):
                reader, writer = await asyncio.open_connection("127.0.0.1", link.listen)
                try:
                    writer.write(greeting.get(link.server, _API_VERSIONS))
                    answer = await reader.read(1)
                finally:
                    writer.close()
        except OSError:  # TimeoutError is one
            return None
        return time.monotonic() - began if answer else None

    def connections(self, way: str) -> set[tuple[int, int]]:
        """(process id, local port) of each open connection of the way's client."""
        links = self._of(way)
        ports = {link.listen for link in links}
        found: set[tuple[int, int]] = set()
        for name, pid in self._stack.status().items():
            if pid and is_service(name) and service_of(name).name == links[0].client:
                found |= {
                    (pid, seen.laddr.port)
                    for seen in psutil.Process(pid).net_connections("tcp")
                    if seen.status == psutil.CONN_ESTABLISHED and seen.raddr.port in ports
                }
        return found

    # -- inside ----------------------------------------------------------------------------

    def _of(self, way: str) -> list[Link]:
        links = [
            link for name, link in self._links.items() if name == way or name.startswith(f"{way}-")
        ]
        if not links:
            raise ValueError(f"there is no way {way!r}; there are {', '.join(self.ways)}")
        return links

    async def _poison(
        self, way: str, kind: str, attributes: Mapping[str, int], directions: tuple[str, ...]
    ) -> None:
        for link in self._of(way):
            for direction in directions:
                toxic = f"{kind}_{direction}"
                await self._post(
                    f"/proxies/{link.name}/toxics",
                    {"name": toxic, "type": kind, "stream": direction, "attributes": attributes},
                )
                self._toxics.append((link.name, toxic))

    async def _post(self, path: str, body: Mapping[str, object]) -> None:
        answer = await asyncio.to_thread(self._api.post, path, json=body)
        answer.raise_for_status()

    def _answers(self) -> bool:
        try:
            return self._api.get("/version").is_success
        except httpx.TransportError:
            return False


def toxiproxy() -> Path | None:
    """The program, built at the first call; None where Go or the network is missing."""
    program = CACHE / f"toxiproxy-{TOXIPROXY_VERSION}"
    go = shutil.which("go")
    if program.exists() or go is None:
        return program if program.exists() else None
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        built = subprocess.run(
            [go, "install", TOXIPROXY],
            env=os.environ | {"GOBIN": scratch},
            capture_output=True,
            text=True,
            timeout=300,
        )
        if built.returncode != 0:
            print(f"note: toxiproxy could not be built, {built.stderr.strip()[-200:]}")
            return None
        # The rename makes the program appear whole or not at all.
        (Path(scratch) / "server").rename(program)
    return program
