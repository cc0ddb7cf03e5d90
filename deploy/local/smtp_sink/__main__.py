"""`python -m deploy.local.smtp_sink`: settings come from the environment."""

import logging
import sys

import uvloop

from deploy.local.smtp_sink.sink import Settings, serve

if __name__ == "__main__":
    # It logs every address at level info.
    logging.getLogger("mail").setLevel(logging.WARNING)
    try:
        uvloop.run(serve(Settings()))
    except KeyboardInterrupt:
        sys.exit(130)
