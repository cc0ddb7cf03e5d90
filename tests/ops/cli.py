"""The ops command line as a process of its own."""

import asyncio
import json
import os
import signal
import sys
from functools import partial
from typing import Any, NamedTuple

from deploy.local.home import PROJECT
from deploy.local.stack import LocalStack


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Cli:
    """The command line as its own process, on the running stack."""

    def __init__(self, stack: LocalStack) -> None:
        self._stack = stack

    async def start(self, *arguments: str, role: str = "admin") -> asyncio.subprocess.Process:
        told = {
            "OPS_URL": self._stack.url("ops"),
            "OPS_TOKEN": self._stack.token("naledi", role),
            "PYTHONUNBUFFERED": "1",
        }
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "services.ops.cli", *arguments),
            cwd=PROJECT,
            env=os.environ | told,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            # A shell's background job, as CI may be, starts with interrupts ignored.
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        )

    async def run(self, *arguments: str, role: str = "admin") -> Ended:
        process = await self.start(*arguments, role=role)
        out, err = await process.communicate()
        return Ended(process.returncode or 0, out.decode(), err.decode())
