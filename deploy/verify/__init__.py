"""The checker: whether what the shop promised is true of a running system, right now.

    evidence.py     what all databases, topics and Stripe say, as one value
    databases.py    ... read from PostgreSQL
    topics.py       ... read from Kafka
    stripe.py       ... read from Stripe (the stand-in's ledger, and Stripe's own list of events)
    told.py         what customers were told, where somebody wrote it down
    invariants.py   I1 to I10 by number
    stock.py, money.py, orders.py   ... as functions of evidence, without I/O
    rest.py         waiting until nothing is under way (I5)

`python -m deploy.verify` prints them with counts and exits with 1 on a breach. It reads everything,
so its time and memory grow with the number of orders: some 20,000 orders a minute.
"""
