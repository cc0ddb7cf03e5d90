from services.notification.app import build
from services.notification.settings import NotificationSettings

build(NotificationSettings.from_environment()).run()
