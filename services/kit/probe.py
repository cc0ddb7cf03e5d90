"""Asks the service of this container how it is: `python -m services.kit.probe /healthz /readyz`.

For health checks of the image, which has no curl. Imports nothing else of the kit, because it runs
every few seconds.
"""

import os
import sys
from collections.abc import Iterable
from http.client import HTTPConnection, HTTPException

SECONDS = 4.0


def trouble(paths: Iterable[str], port: int) -> str | None:
    """What the first path that does not answer 200 says instead; None if all do."""
    for path in paths:
        connection = HTTPConnection("127.0.0.1", port, timeout=SECONDS)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            if answer.status != 200:
                return f"{path}: {answer.status} {answer.read(2000).decode(errors='replace')}"
        except (OSError, HTTPException) as error:
            return f"{path}: {error!r}"
        finally:
            connection.close()
    return None


if __name__ == "__main__":
    # The engine keeps what a health check says: `docker inspect` shows it.
    sys.exit(trouble(sys.argv[1:], int(os.environ.get("HTTP_PORT", "8000"))))
