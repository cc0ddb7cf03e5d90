"""The public HTTP API. Start with `app.py`, then follow an order from `routes/orders.py`."""
