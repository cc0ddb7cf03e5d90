"""Links: ports of one's own between a service and a server, for something to be put in between.

A stack with links tells each service a port of its own for each server that it talks to. Nothing
listens there until somebody does: tests put a proxy on every link, to cut, slow or reset it.
"""

from __future__ import annotations

from typing import NamedTuple


class Link(NamedTuple):
    """The way from a service to a server."""

    client: str
    """The service; all of its replicas take the same way."""
    server: str
    """The server's process."""
    listen: int
    """The port that the client was told."""
    upstream: int
    """The port that the server listens on."""

    @property
    def name(self) -> str:
        return link_name(self.client, self.server)


def link_name(client: str, server: str) -> str:
    """The link's name, under which the home keeps the port that the client is told."""
    return f"{client}-{server}"


def listener_name(client: str, broker: str) -> str:
    """The name of the port that a broker listens on for that client alone: a broker tells its
    clients where to come back to, and each of them must come back over its own link."""
    return f"{broker}:{client}"
