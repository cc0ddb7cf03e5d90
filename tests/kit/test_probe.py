"""The health check of the image: what a container's service says is what the engine hears."""

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from services.kit.probe import trouble


class _Service(BaseHTTPRequestHandler):
    def do_GET(self) -> None:  # the name that http.server calls
        self.send_response(200 if self.path == "/healthz" else 503)
        self.end_headers()
        self.wfile.write(b"kafka is away")

    def log_message(self, *_: object) -> None:
        """Nothing on the tests' standard error."""


@pytest.fixture
def port() -> Iterator[int]:
    """Of a service that makes progress and is not ready."""
    with HTTPServer(("127.0.0.1", 0), _Service) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_the_first_path_that_fails_is_told_with_its_reason(port: int) -> None:
    assert trouble(["/healthz"], port) is None
    assert trouble(["/healthz", "/readyz"], port) == "/readyz: 503 kafka is away"


def test_nobody_there_is_trouble() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        told = trouble(["/healthz"], unused.getsockname()[1])
    assert told is not None
    assert "ConnectionRefusedError" in told
