"""One application on several ports: who called is who is connected, all close together, and new
connections are accepted quickly."""

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
import asyncio
import sys
import time
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from services.kit.serving import serve

async def who(request):
    return JSONResponse([request.scope["server"][1], request.scope["client"][0]])

turns = 0

async def count():
    global turns
    while True:
        turns += 1
        await asyncio.sleep(0)

async def block(request):
    request.app.state.counting = asyncio.create_task(count())
    time.sleep(1)
    return JSONResponse(turns)

async def turn(request):
    return JSONResponse(turns)

routes = [Route("/", who), Route("/block", block), Route("/turn", turn)]
serve(Starlette(routes=routes), "127.0.0.1", map(int, sys.argv[1:]))
"""
CROWD = 64


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


async def test_a_crowd_of_new_connections_does_not_wait_for_as_many_turns_of_the_loop() -> None:
    port, _ = free_ports()
    async with (
        program(port),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client,
    ):

        async def is_up() -> bool:
            try:
                return (await client.get("/")).is_success
            except httpx.TransportError:
                return False

        await eventually(is_up, bool)
        blocking = asyncio.create_task(client.get("/block"))
        await asyncio.sleep(0.3)
        crowd = await asyncio.gather(*(client.get("/turn") for _ in range(CROWD)))
        await blocking
        turns = sorted(answer.json() for answer in crowd)
        assert turns[-1] - turns[0] < CROWD / 2
