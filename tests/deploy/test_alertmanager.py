"""Alertmanager itself, with the settings that are shipped: an alert goes in, a mail comes out."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from aiosmtpd.smtp import SMTP

from deploy.local.smtp_sink.sink import Sink
from tests.deploy.test_monitoring import ALERTMANAGER
from tests.kit.conftest import eventually
from tests.standin.process import free_port

PROGRAM = shutil.which("prometheus-alertmanager")
ALERTS = [
    {"alertname": "LowStock", "severity": "ticket", "audience": "staff"},
    {"alertname": "OrdersStuck", "severity": "page", "audience": "staff"},
    {"alertname": "ServiceDown", "severity": "page", "service": "order"},
    {"alertname": "ServiceDown", "severity": "page", "service": "payment"},
    {"alertname": "MailsParked", "severity": "ticket"},
]


@asynccontextmanager
async def mail_server() -> AsyncIterator[tuple[Sink, int]]:
    sink = Sink()
    server = await asyncio.get_running_loop().create_server(
        lambda: SMTP(sink, hostname="sink.example.com"), "127.0.0.1", 0
    )
    yield sink, server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()


@asynccontextmanager
async def alertmanager(folder: Path, smtp_port: int) -> AsyncIterator[httpx.AsyncClient]:
    """The process, with our settings but for the address of the sink and the wait of a group."""
    settings = ALERTMANAGER.read_text()
    for shipped, here in (
        ("mailpit:1025", f"127.0.0.1:{smtp_port}"),
        ("group_wait: 30s", "group_wait: 1s"),
    ):
        assert shipped in settings
        settings = settings.replace(shipped, here)
    (folder / "alertmanager.yml").write_text(settings)
    assert PROGRAM
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        PROGRAM,
        f"--config.file={folder / 'alertmanager.yml'}",
        f"--storage.path={folder}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:

            async def ready() -> bool:
                try:
                    return (await client.get("/-/ready")).is_success
                except httpx.TransportError:
                    return False

            await eventually(ready, bool)
            yield client
    finally:
        process.terminate()
        await process.wait()


@pytest.mark.skipif(
    PROGRAM is None, reason="it is not here; it is in Debian's package prometheus-alertmanager"
)
async def test_an_alert_becomes_a_mail_to_those_whom_it_is_for(tmp_path: Path) -> None:
    async with mail_server() as (sink, port), alertmanager(tmp_path, port) as client:
        alerts = [{"labels": labels, "annotations": {"summary": "seen"}} for labels in ALERTS]
        (await client.post("/api/v2/alerts", json=alerts)).raise_for_status()

        async def mails() -> list[tuple[str, str]]:
            found = (received.shown() for received in list(sink.mails))
            return sorted((mail["to"][0], mail["subject"]) for mail in found)

        told = await eventually(mails, lambda seen: len(seen) == 5)
    assert [to for to, _ in told] == ["on-call@example.com"] * 3 + ["staff@example.com"] * 2
    assert [subject.split("]")[0] for _, subject in told].count("[FIRING:2") == 1
    for name, to in (
        ("LowStock", ["staff@example.com"]),
        ("OrdersStuck", ["on-call@example.com", "staff@example.com"]),
        ("ServiceDown", ["on-call@example.com"]),
        ("MailsParked", ["on-call@example.com"]),
    ):
        assert [who for who, subject in told if name in subject] == to
