"""Settings of the inventory service, from environment variables."""

from datetime import timedelta

from pydantic import Field

from services.kit.settings import ServiceSettings


class InventorySettings(ServiceSettings):
    catalog_interval_seconds: float = Field(
        default=2.0,
        gt=0,
        le=60,
        description="how often at most each product is published while a flood of orders changes "
        "many of them; a batch that changes few publishes them at once",
    )

    @property
    def catalog_interval(self) -> timedelta:
        return timedelta(seconds=self.catalog_interval_seconds)
