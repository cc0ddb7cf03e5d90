"""The HTTP server of a process: one application, on one port or on several."""

import contextlib
import socket
import sys
from collections.abc import Iterable, Iterator
from typing import Any, Final

import uvicorn

from services.kit.telemetry import log

_FAILED: Final = 3
"""What uvicorn itself exits with when the application does not start."""
_ACCEPTED_AT_ONCE: Final = 16
"""uvloop accepts one connection per socket and turn of its loop. The turns of a busy process are
long, and who gives up in the queue in front of it is served all the same: so a port has several."""


def serve(app: Any, host: str, ports: Iterable[int]) -> None:
    """Until SIGTERM; then requests in hand have 5 s to end, on all ports alike.

    An application knows the port by `scope["server"]`, and its peer by `scope["client"]`: that is
    the other end of the connection, whatever `X-Forwarded-For` says.
    """
    sockets = [again for port in ports for again in _several(_bound(host, port))]
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            loop="uvloop",
            http="httptools",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            timeout_graceful_shutdown=5,
        )
    )
    with contextlib.suppress(KeyboardInterrupt):
        server.run(sockets=sockets)
    if not server.started:
        sys.exit(_FAILED)


def _several(bound: socket.socket) -> Iterator[socket.socket]:
    yield bound
    for _ in range(_ACCEPTED_AT_ONCE - 1):
        yield bound.dup()


def _bound(host: str, port: int) -> socket.socket:
    """Not listening yet: until the service has started, callers are turned away and try again."""
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        log.error("cannot listen", host=host, port=port, error=repr(error))
        sys.exit(_FAILED)
    return bound
