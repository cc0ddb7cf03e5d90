from services.gateway.app import build
from services.gateway.settings import Settings

service, app = build(Settings.from_environment())
service.run(app=app)
