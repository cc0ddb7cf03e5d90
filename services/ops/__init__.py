"""Eyes and hands for whoever runs the shop and the system.

What it shows comes from topics, what it does goes through commands: it reads nobody's tables.
Start with `observing.py`, which turns a batch of records into rows.
"""
