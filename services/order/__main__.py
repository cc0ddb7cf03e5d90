from services.order.app import build
from services.order.settings import OrderSettings

build(OrderSettings.from_environment()).run()
