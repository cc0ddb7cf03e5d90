"""Settings of the order service."""

from pydantic import Field

from services.kit.settings import ServiceSettings


class OrderSettings(ServiceSettings):
    reservation_seconds: float = Field(
        default=1800.0, gt=0, description="how long stock is held for a customer who has not paid"
    )
    step_timeout_seconds: float = Field(
        default=15.0, gt=0, description="an unanswered command is sent again after this long"
    )
