"""One address for all gateways, as a load balancer is in front of replicas."""

import asyncio
from collections import deque
from typing import Self

from tests.faults.proxy import Proxy


class Door(Proxy):
    """Each connection goes to the next gateway that takes it, in turn; to none, it is reset."""

    def __init__(self, port: int) -> None:
        super().__init__(f"127.0.0.1:{port}", f"127.0.0.1:{port}")
        self._behind: deque[int] = deque()

    async def __aenter__(self) -> Self:
        await self.enable(True)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.enable(False)

    def add(self, port: int) -> None:
        """Let this gateway have its share of the connections that come from now on."""
        self._behind.append(port)

    def remove(self, port: int) -> None:
        """Send it no more; the connections that it has stay until it ends."""
        self._behind.remove(port)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        for _ in range(len(self._behind)):
            self._behind.rotate()
            try:
                return await asyncio.open_connection("127.0.0.1", self._behind[0])
            except OSError:
                continue
        raise ConnectionRefusedError
