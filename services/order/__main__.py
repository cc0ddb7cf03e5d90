from services.order.app import OrderSettings, build

build(OrderSettings.from_environment()).run()
