"""Settings of the inventory service, from environment variables."""

from datetime import timedelta

from pydantic import Field

from services.kit.settings import ServiceSettings


class InventorySettings(ServiceSettings):
    catalog_interval_seconds: float = Field(
        default=2.0,
        gt=0,
        le=60,
        description="how often the catalogue shows a stock level that orders keep changing",
    )

    @property
    def catalog_interval(self) -> timedelta:
        return timedelta(seconds=self.catalog_interval_seconds)
