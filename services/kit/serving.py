"""The HTTP server of a process: one application, on one port or on several."""

import contextlib
import socket
import sys
from collections.abc import Iterable
from typing import Any, Final

import uvicorn

from services.kit.telemetry import log

_FAILED: Final = 3
"""What uvicorn itself exits with when the application does not start."""


def serve(app: Any, host: str, ports: Iterable[int]) -> None:
    """Until SIGTERM; then requests in hand have 5 s to end, on all ports alike.

    An application knows the port by `scope["server"]`, and its peer by `scope["client"]`: that is
    the other end of the connection, whatever `X-Forwarded-For` says.
    """
    sockets = [_bound(host, port) for port in ports]
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
