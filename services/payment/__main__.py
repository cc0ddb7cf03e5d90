"""`python -m services.payment`"""

from services.payment.app import build
from services.payment.settings import PaymentSettings

if __name__ == "__main__":
    build(PaymentSettings.from_environment()).run()
