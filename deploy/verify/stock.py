"""I1 to I3: goods. What was supplied is there, held or sold; nothing twice."""

import json

from deploy.verify.evidence import PAID, Breaches, Evidence, states
from deploy.verify.told import Told


def stock_adds_up(evidence: Evidence, told: Told) -> Breaches:
    for name, row in evidence.products.items():
        put = any(record.action == "product_put" for record in evidence.stock_audit.get(name, []))
        if put and row["opening_stock"]:
            opening = row["opening_stock"]
            yield f"product {name}: was put with no stock, and {opening} came without a movement"
        supply = row["opening_stock"] + row["by_people"]
        accounted = row["stock_quantity"] + row["held"] + row["sold"]
        if accounted != supply:
            yield f"product {name}: stock, held and sold are {accounted}, supply was {supply}"
        if (put_there := told.supply.get(name, supply)) != supply:
            yield f"product {name}: staff put {put_there} there, the books have {supply}"
        if (
            not row["moved"]
            == row["movements_total"]
            == row["stock_quantity"] - row["opening_stock"]
        ):
            yield f"product {name}: the ledger of movements says {row['moved']}: {dict(row)}"


def nothing_oversold(evidence: Evidence, _told: Told) -> Breaches:
    for name, row in evidence.products.items():
        if row["lowest"] < 0:
            yield f"product {name}: stock was once {row['lowest']}, it is {row['stock_quantity']}"
        if row["held"] + row["sold"] > row["opening_stock"] + row["by_people"]:
            yield f"product {name}: sold above supply: {dict(row)}"


def reserved_and_restored_once(evidence: Evidence, _told: Told) -> Breaches:
    for (order_id, product), moves in evidence.movements.items():
        actions = [move["action"] for move in moves]
        if actions not in (["reserved"], ["reserved", "restored"]):
            yield f"order {order_id}, product {product}: moved {actions}"
        elif len(moves) == 2 and moves[0]["quantity"] + moves[1]["quantity"]:
            amounts = [move["quantity"] for move in moves]
            yield f"order {order_id}, product {product}: took and gave {amounts}"
    for order_id, rows in evidence.reservations.items():
        order = evidence.orders.get(order_id)
        if order is None:
            yield f"order {order_id}: has stock, but does not exist"
        elif order["status"] == "cancelled" and any(row["state"] != "restored" for row in rows):
            yield f"order {order_id}: cancelled, but its stock is {states(rows)}"
    for order_id, order in evidence.orders.items():
        rows = evidence.reservations.get(order_id, [])
        if order["status"] in PAID:
            has = {
                row["product_id"]: row["quantity"] for row in rows if row["state"] == "committed"
            }
            if has != json.loads(order["wanted"]):
                yield f"order {order_id}: {order['status']}, wanted {order['wanted']}, has {has}"
