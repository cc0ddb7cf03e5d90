"""The command line of those who run the system: a client of the ops service's HTTP API.

__main__.py      the commands by group, and how errors end
client.py        HTTP, and the exit codes
printing.py      tables for people, JSON for programs
orders.py        orders and sagas
dead_letters.py  parked messages
stock.py         stock, its history and adjustments
audit.py         the audit
"""
