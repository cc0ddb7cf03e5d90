"""What the benchmarks compare after each turn: orders, stock and payments of a contender."""

import pytest

from benchmarks.peers import database
from benchmarks.peers.contenders import Monolith
from deploy.local.stack import LocalStack

# A piece that no movement brought.
APPEARS = """
UPDATE products
   SET stock_quantity = stock_quantity + 1, movements_total = movements_total + 1,
       version = version + 1
 WHERE movements_total <> 0
"""


@pytest.fixture
def monolith(servers: LocalStack, monkeypatch: pytest.MonkeyPatch) -> Monolith:
    monkeypatch.setattr(database, "_LONGEST_WAIT", 0.0)  # nothing is under way any more
    return Monolith(servers, clients=2)


def test_the_books_of_the_monolith_add_up(monolith: Monolith) -> None:
    monolith.run(10, products=1000)
    monolith.run(10, products=1)

    assert database.check(monolith.databases) == 20


@pytest.mark.parametrize(
    ("breakage", "complaint"),
    [
        ("DELETE FROM payments", "payments: 0, should be 4"),
        ("UPDATE orders SET payment_status = 'unpaid'", "orders confirmed: 0, should be 4"),
        (APPEARS, "products whose stock is not opening stock and movements: 1, should be 0"),
    ],
)
def test_what_does_not_add_up_is_named(monolith: Monolith, breakage: str, complaint: str) -> None:
    monolith.run(4, products=1)
    database.execute(monolith.databases.order, breakage)

    with pytest.raises(AssertionError, match=complaint):
        database.check(monolith.databases)
