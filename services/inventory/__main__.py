"""`python -m services.inventory`"""

from services.inventory.app import build
from services.inventory.settings import InventorySettings

if __name__ == "__main__":
    build(InventorySettings.from_environment()).run()
