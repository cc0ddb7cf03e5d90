"""`python -m deploy.local.stripe_standin`: settings come from the environment, see settings.py."""

import logging
import sys

import uvloop

from deploy.local.stripe_standin.server import serve
from deploy.local.stripe_standin.settings import Settings
from services.kit.settings import secrets_folder

if __name__ == "__main__":
    settings = Settings(_secrets_dir=secrets_folder())
    logging.basicConfig(
        level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    try:
        uvloop.run(serve(settings))
    except KeyboardInterrupt:
        sys.exit(130)
