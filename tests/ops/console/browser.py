"""A real browser in front of the console: the system's Chromium, driven by Playwright."""

import asyncio
import os
import shutil
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import pytest
import uvicorn
from fastapi import FastAPI
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect

from deploy.local.tokens import token
from tests.ops.console.conftest import SECRET

NAMES = ("chromium", "chromium-browser", "google-chrome")
MISSING = "no Chromium here: install it, on Debian with `apt-get install chromium`"
PATIENCE = 15_000
"""Milliseconds. What is waited for takes a fraction of a second, or a poll of one."""
expect.set_options(timeout=PATIENCE)


def find_chromium() -> str:
    """Without one the tests are skipped, but not where CI says that it must be there."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None and os.environ.get("CI") == "true":
        pytest.fail(MISSING)
    if found is None:
        pytest.skip(MISSING)
    return found


@asynccontextmanager
async def launched() -> AsyncIterator[Browser]:
    path = find_chromium()
    # Chromium's sandbox does not run as root, which CI may be.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        await browser.close()


@asynccontextmanager
async def served(app: FastAPI) -> AsyncIterator[str]:
    """The application on a port of this machine; its address."""
    with _listening() as listening:
        config = uvicorn.Config(app, lifespan="off", ws="none", log_level="warning")
        config.timeout_graceful_shutdown = 1
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        await serving


@contextmanager
def _listening() -> Iterator[socket.socket]:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        opened.listen()
        yield opened


@dataclass(frozen=True)
class Tab:
    """A tab of somebody's browser."""

    page: Page
    address: str
    complaints: list[str]
    """What the browser's own console has said: errors of scripts, and what the policy refused."""

    @classmethod
    async def open(cls, context: BrowserContext, address: str) -> "Tab":
        context.set_default_timeout(PATIENCE)
        tab = cls(await context.new_page(), address, [])
        tab.page.on("console", lambda said: tab._note(said.type, said.text))
        tab.page.on("pageerror", lambda error: tab._note("error", str(error)))
        return tab

    def _note(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.complaints.append(text)

    async def see(self, path: str) -> None:
        await self.page.goto(f"{self.address}/console{path}")

    async def sign_in(self, person: str, role: str) -> None:
        await self.see("/sign-in")
        await self.page.get_by_label("Token").fill(token(SECRET, person, role))
        await self.page.get_by_role("button", name="Sign in").click()
        await self.page.wait_for_url("**/console/")

    async def width(self) -> int:
        """Of the whole page, whatever the window shows."""
        found: int = await self.page.evaluate("document.documentElement.scrollWidth")
        return found
