"""The saga as a workflow of DBOS Transact: four steps, each a transaction with its checkpoint.

Its application tables and DBOS's own are in one database. Several of these processes share the
work, as replicas do. Each line on standard input, `{"orders": 100, "products": 1000}`, is a load;
the answer is a line once all of its orders are confirmed.
"""

import json
import os
import random
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

from dbos import DBOS, DBOSConfig, SQLAlchemyDatasource
from sqlalchemy import text

from benchmarks.peers import statements as sql

THREADS = int(os.environ["PEER_THREADS"])
DATABASE = os.environ["PEER_DATABASE"].replace("postgresql://", "postgresql+psycopg://")
CONFIG: DBOSConfig = {
    "name": "orders",
    "system_database_url": DATABASE,
    "sys_db_pool_size": THREADS + 2,  # each workflow writes its status and its outcome
    "executor_id": os.environ["PEER_REPLICA"],
    "log_level": "WARNING",
}
DBOS(config=CONFIG)
database = SQLAlchemyDatasource.create(
    database_url=DATABASE, engine_kwargs={"pool_size": THREADS, "max_overflow": 2}
)


def _execute(statement: str, **values: Any) -> Any:
    return database.sql_session().execute(text(statement), values)


# The default, SERIALIZABLE, is not needed: every statement below locks the row that it decides on.
@database.transaction(isolation_level="READ COMMITTED")
def place(order_id: UUID, product_id: UUID) -> None:
    lines = json.dumps([{"product_id": str(product_id), "quantity": 1}])
    _execute(sql.PLACE_ORDER, order_id=order_id, lines=lines)


@database.transaction(isolation_level="READ COMMITTED")
def reserve(order_id: UUID, product_id: UUID) -> dict[str, Any]:
    _execute(sql.BOOK_MOVEMENT, order_id=order_id, product_id=product_id)
    taken = _execute(sql.TAKE_STOCK, product_id=product_id).mappings().one_or_none()
    if taken is None:
        raise RuntimeError(f"product {product_id} is out of stock")
    name, price, currency = taken["name"], taken["price"], taken["currency"]
    _execute(sql.HOLD, order_id=order_id, product_id=product_id, name=name, price=price)
    items = json.dumps(
        [{"product_id": str(product_id), "quantity": 1, "name": name, "price": price}]
    )
    _execute(sql.ORDER_RESERVED, order_id=order_id, price=price, currency=currency, items=items)
    return {"price": price, "currency": currency}


@database.transaction(isolation_level="READ COMMITTED")
def pay(order_id: UUID, price: int, currency: str) -> str:
    intent = f"pi_{order_id.hex}"
    _execute(sql.PAY, order_id=order_id, price=price, currency=currency, intent=intent)
    return intent


@database.transaction(isolation_level="READ COMMITTED")
def confirm(order_id: UUID, intent: str) -> None:
    _execute(sql.CONFIRM_ORDER, order_id=order_id, intent=intent)
    _execute(sql.COMMIT_STOCK, order_id=order_id)


@DBOS.workflow()
def order(order_id: UUID, product_id: UUID) -> None:
    place(order_id, product_id)
    charge = reserve(order_id, product_id)
    intent = pay(order_id, charge["price"], charge["currency"])
    confirm(order_id, intent)


def main() -> None:
    DBOS.launch()
    print("ready", flush=True)
    with ThreadPoolExecutor(THREADS) as threads:
        for line in sys.stdin:
            load = json.loads(line)
            asked = [
                threads.submit(order, uuid4(), UUID(int=random.randint(1, load["products"])))
                for _ in range(load["orders"])
            ]
            for each in asked:
                each.result()
            print("done", flush=True)
    DBOS.destroy()


if __name__ == "__main__":
    main()
