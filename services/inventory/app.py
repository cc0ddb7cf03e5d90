"""Wires the inventory service."""

from pathlib import Path

from contracts.topics import (
    AUDIT_INVENTORY,
    INVENTORY_CATALOG,
    INVENTORY_COMMANDS,
    INVENTORY_EVENTS,
    INVENTORY_REPLIES,
)
from services.inventory.catalogue import publish_catalog
from services.inventory.handlers import handlers
from services.inventory.settings import InventorySettings
from services.kit.service import Service


def build(settings: InventorySettings) -> Service:
    """The inventory service with everything that it runs."""
    service = Service(
        name="inventory",
        settings=settings,
        migrations=Path(__file__).parent / "migrations",
        consumes=(INVENTORY_COMMANDS,),
        emits=(INVENTORY_EVENTS, INVENTORY_CATALOG, INVENTORY_REPLIES, AUDIT_INVENTORY),
        handlers=handlers(settings.catalog_interval),
    )
    service.every(seconds=settings.catalog_interval_seconds / 4, name="publish_catalog")(
        publish_catalog
    )
    return service
