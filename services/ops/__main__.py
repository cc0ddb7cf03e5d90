"""`python -m services.ops`"""

from services.ops.app import build
from services.ops.settings import OpsSettings

if __name__ == "__main__":
    service, app = build(OpsSettings.from_environment())
    service.run(app=app)
