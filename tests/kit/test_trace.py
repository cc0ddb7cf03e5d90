"""Spans reach whoever is set to collect them, and link to the messages of their batch."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from services.kit.trace import Tracing, new_traceparent


class Collector(HTTPServer):
    """Takes what is exported, as a collector of OTLP over HTTP does."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Taking)
        self.taken: list[tuple[str, bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Taking(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.taken.append((self.path, body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        """Quiet."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    server = Collector()
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    yield server
    server.shutdown()
    serving.join()
    server.server_close()


def test_a_batch_is_a_span_that_names_the_traces_of_its_messages(collector: Collector) -> None:
    tracing, caller = Tracing("order", f"{collector.url}/"), new_traceparent()
    with tracing.batch("order batch", [caller, "no traceparent"]):
        pass
    tracing.shutdown()
    ((path, body),) = collector.taken
    assert path == "/v1/traces"
    assert b"order batch" in body
    assert bytes.fromhex(caller.split("-")[1]) in body


def test_without_an_address_nothing_is_recorded() -> None:
    tracing = Tracing("order", None)
    with tracing.batch("order batch", [new_traceparent()]):
        pass
    tracing.shutdown()
