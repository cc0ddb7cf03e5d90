"""Calls of the ops service, and what an answer that is no success means for the exit code.

0  done
1  done, and something is not as it should be: a broken audit, an operation that failed
2  the command was not understood
3  there is no such order, message, operation or product
4  no token, or its role does not allow this
5  the ops service does not answer, or cannot right now
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode
from urllib.request import ProxyHandler, Request, build_opener
from uuid import UUID

TIMEOUT = 600.0
"""Seconds; proving the audit reads all of it."""


class Exit(IntEnum):
    WRONG = 1
    USAGE = 2
    NOT_FOUND = 3
    NOT_ALLOWED = 4
    AWAY = 5


class Failed(Exception):  # noqa: N818  # told to people, not raised at them
    """A command that cannot go on: what happened, what to do, and the exit code."""

    def __init__(self, code: Exit, what: str, todo: str) -> None:
        super().__init__(what)
        self.code = code
        self.todo = todo


@dataclass(frozen=True, slots=True)
class Client:
    """The ops service at an address, asked with a token."""

    url: str
    token: str | None

    def get(self, path: str, **query: Any) -> Any:
        """The answer's JSON; parameters that are None are left out.

        Raises:
            Failed: the service is away or refuses.
        """
        given = {name: value for name, value in query.items() if value is not None}
        return self._ask(
            "GET", f"{quote(path)}?{urlencode(given, doseq=True)}" if given else quote(path)
        )

    def post(self, path: str, body: Any) -> Any:
        """The same, sending a body."""
        return self._ask("POST", path, json.dumps(body).encode())

    def put(self, path: str, body: Any) -> Any:
        """The same, of what may be sent twice."""
        return self._ask("PUT", quote(path), json.dumps(body).encode())

    def _ask(self, method: str, path: str, body: bytes | None = None) -> Any:
        if not self.token:
            raise Failed(
                Exit.NOT_ALLOWED,
                "no token is given",
                "set OPS_TOKEN to one with the role viewer, operator or admin; on the local stack "
                "use `make ops ARGS='...'`",
            )
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        request = Request(f"{self.url}{path}", body, headers, method=method)  # noqa: S310
        # The ops service is inside: no proxy knows the way.
        opener = build_opener(ProxyHandler({}))
        try:
            with opener.open(request, timeout=TIMEOUT) as answer:
                return json.load(answer)
        except HTTPError as error:
            raise _refused(error) from None
        except (URLError, OSError, ValueError) as error:
            why = getattr(error, "reason", error)
            raise Failed(
                Exit.AWAY,
                f"the ops service does not answer at {self.url}: {why}",
                "check OPS_URL, and that the service runs",
            ) from None


@contextmanager
def repeatable(chosen: UUID, so_far: str) -> Iterator[None]:
    """Around what is asked under an id: who got no answer hears how it may stand `so_far`, and how
    to ask for the same again."""
    try:
        yield
    except Failed as failed:
        if failed.code is Exit.AWAY:
            failed.todo += f"; {so_far}: say --id {chosen} when you repeat it"
        raise


def _refused(error: HTTPError) -> Failed:
    try:
        detail = json.load(error)["detail"]
    except (ValueError, KeyError, TypeError):
        detail = error.reason
    if error.code in (401, 403):
        todo = "use a token with the role that is asked for"
        return Failed(Exit.NOT_ALLOWED, str(detail), todo)
    if error.code == 404:
        todo = (
            "check the id; `orders list`, `dead-letters list` and `stock report` show what there is"
        )
        return Failed(Exit.NOT_FOUND, str(detail), todo)
    if error.code < 500:
        return Failed(Exit.USAGE, str(detail), "correct the arguments; `--help` explains them")
    return Failed(
        Exit.AWAY, str(detail), "try again in a moment; if it stays, see the service's log"
    )
