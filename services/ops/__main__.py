"""`python -m services.ops`"""

from services.ops.app import build
from services.ops.settings import OpsSettings

if __name__ == "__main__":
    settings = OpsSettings.from_environment()
    service, app = build(settings)
    service.run(app=app, more_ports=[settings.console_port] if settings.console_port else [])
