"""Proxies that understand the few requests of toxiproxy's that the harness makes.

    python -m tests.faults.proxy -port 8474

For machines without Go. A chunk that passes knows when it came, and leaves once it is as old as
the latency in force: what was held by a long one leaves at once when that is taken away.
"""

import argparse
import asyncio
import contextlib
import socket
import struct
import time
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

# How much may be on its way in one direction, as in a real network's buffers.
_CHUNKS, _CHUNK_BYTES = 1024, 64 * 1024


class Proxy:
    """Listens on one port and passes connections on to another."""

    def __init__(self, listen: str, upstream: str) -> None:
        self._listen = _address(listen)
        self._upstream = _address(upstream)
        self._toxics: dict[str, dict[str, Any]] = {}
        self._changed = asyncio.Event()
        self._open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def enable(self, wanted: bool) -> None:
        """Listen, or break all connections and refuse new ones."""
        if wanted and self._server is None:
            self._server = await asyncio.start_server(self._pass, *self._listen)
        elif not wanted and self._server is not None:
            self._server.close()
            self._server = None
            for writer in list(self._open):
                _reset(writer)

    def set_toxic(self, name: str, toxic: dict[str, Any] | None) -> None:
        """Put a toxic in force, or take it away."""
        if toxic is None:
            self._toxics.pop(name, None)
        else:
            self._toxics[name] = toxic
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _latency(self, direction: str) -> float:
        return sum(
            float(toxic["attributes"].get("latency", 0)) / 1000
            for toxic in self._toxics.values()
            if toxic["stream"] == direction
        )

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if any(toxic["type"] == "reset_peer" for toxic in self._toxics.values()):
            _reset(writer)
            return
        try:
            back, forth = await self._connect()
        except OSError:
            _reset(writer)
            return
        self._open |= {writer, forth}
        try:
            await asyncio.gather(
                self._carry(reader, forth, "upstream"), self._carry(back, writer, "downstream")
            )
        finally:
            self._open -= {writer, forth}

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(*self._upstream)

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: str
    ) -> None:
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_CHUNKS)
        receiving = asyncio.create_task(_receive(reader, under_way))
        # A side that went away is nothing to complain of.
        with contextlib.suppress(OSError):
            while (arrived := await under_way.get())[1]:
                await self._wait(arrived[0], direction)
                writer.write(arrived[1])
                await writer.drain()
        receiving.cancel()
        writer.close()

    async def _wait(self, came: float, direction: str) -> None:
        while (left := came + self._latency(direction) - time.monotonic()) > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._changed.wait()


async def _receive(
    reader: asyncio.StreamReader, under_way: asyncio.Queue[tuple[float, bytes]]
) -> None:
    chunk = b"first"
    while chunk:
        try:
            chunk = await reader.read(_CHUNK_BYTES)
        except OSError:
            chunk = b""
        await under_way.put((time.monotonic(), chunk))


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST, so that the other side learns that something is lost."""
    with contextlib.suppress(OSError):
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.partition(":")
    return host, int(port)


def application() -> Starlette:
    """The control interface: a part of toxiproxy's."""
    proxies: dict[str, Proxy] = {}

    async def populate(request: Request) -> Response:
        for wanted in await request.json():
            proxy = proxies[wanted["name"]] = Proxy(wanted["listen"], wanted["upstream"])
            await proxy.enable(wanted["enabled"])
        return JSONResponse({}, 201)

    async def update(request: Request) -> Response:
        body = await request.json()
        await proxies[request.path_params["proxy"]].enable(body["enabled"])
        return JSONResponse({})

    async def add(request: Request) -> Response:
        toxic = await request.json()
        proxies[request.path_params["proxy"]].set_toxic(toxic["name"], toxic)
        return JSONResponse(toxic)

    async def remove(request: Request) -> Response:
        proxies[request.path_params["proxy"]].set_toxic(request.path_params["toxic"], None)
        return Response(status_code=204)

    async def version(_request: Request) -> Response:
        return JSONResponse({"version": "of the harness"})

    return Starlette(
        routes=[
            Route("/version", version),
            Route("/populate", populate, methods=["POST"]),
            Route("/proxies/{proxy}", update, methods=["POST"]),
            Route("/proxies/{proxy}/toxics", add, methods=["POST"]),
            Route("/proxies/{proxy}/toxics/{toxic}", remove, methods=["DELETE"]),
        ]
    )


def main() -> None:
    """Serve until SIGTERM."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("-port", type=int, required=True)
    port = arguments.parse_args().port
    uvicorn.run(application, factory=True, host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    main()
