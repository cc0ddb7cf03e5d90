"""The NOTIFY channels of the gateway's database. A payload is a list of ids, comma-separated."""

from typing import Final

ORDER_CHANGED: Final = "order_changed"
"""Ids of orders whose view became newer."""
COMMAND_ANSWERED: Final = "command_answered"
"""Ids of commands of product administration that inventory has answered."""
