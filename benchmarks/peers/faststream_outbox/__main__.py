"""The saga as a user of FastStream would write it today: three services, a message at a time.

`python -m benchmarks.peers.faststream_outbox` is the service that PEER_SERVICE names.
"""

import asyncio
import importlib
import os

import uvloop

from benchmarks.peers.faststream_outbox.broker import app


def main() -> None:
    importlib.import_module(f"benchmarks.peers.faststream_outbox.{os.environ['PEER_SERVICE']}")
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    asyncio.run(app.run())


if __name__ == "__main__":
    main()
