"""One application on two ports: who called is who is connected, and both ports close together."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import httpx

from deploy.local.home import PROJECT
from tests.kit.conftest import eventually

PROGRAM = """
import sys
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from services.kit.serving import serve

async def who(request):
    return JSONResponse([request.scope["server"][1], request.scope["client"][0]])

serve(Starlette(routes=[Route("/", who)]), "127.0.0.1", map(int, sys.argv[1:]))
"""


def free_ports() -> list[int]:
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("127.0.0.1", 0)) as other,
    ):
        return [one.getsockname()[1], other.getsockname()[1]]


@asynccontextmanager
async def program(*ports: int) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROGRAM, *map(str, ports)),
        cwd=PROJECT,
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_two_ports_are_served_and_closed_together() -> None:
    ports = free_ports()
    async with program(*ports) as process, httpx.AsyncClient(trust_env=False) as client:

        async def ask(port: int) -> list[object] | None:
            forged = {"X-Forwarded-For": "10.9.8.7", "Host": f"x:{ports[0]}"}
            try:
                return list((await client.get(f"http://127.0.0.1:{port}/", headers=forged)).json())
            except httpx.TransportError:
                return None

        for port in ports:
            # No header makes another peer or another port of it.
            assert await eventually(partial(ask, port), bool) == [port, "127.0.0.1"]
        process.send_signal(signal.SIGTERM)
        assert await process.wait() in (0, -signal.SIGTERM)
        assert [await ask(port) for port in ports] == [None, None]


async def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with program(port) as process:
            out, _ = await process.communicate()
            assert process.returncode == 3
            assert "cannot listen" in out.decode()
            assert str(port) in out.decode()
