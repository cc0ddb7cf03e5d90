"""The circuit breaker around Stripe, as a pure rule."""

from uuid import uuid4

import pytest

from services.payment.circuit import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    ORDERS_TO_OPEN,
    PROBES_TO_CLOSE,
    Circuit,
)

LEASE = 20.0


def opened(now: float = 0.0) -> Circuit:
    circuit = Circuit(LEASE)
    for _ in range(ORDERS_TO_OPEN):
        circuit.ended(uuid4(), now, outage=True)
    assert not circuit.closed
    return circuit


def probe(circuit: Circuit, now: float, *, outage: bool) -> None:
    order_id = uuid4()
    assert circuit.places(32, now) == 1
    circuit.probe(order_id, now)
    assert circuit.places(32, now) == 0, "one probe at a time"
    circuit.ended(order_id, now, outage=outage)


def test_failures_of_many_orders_in_a_row_open_it() -> None:
    circuit = Circuit(LEASE)
    for _ in range(ORDERS_TO_OPEN - 1):
        circuit.ended(uuid4(), 0.0, outage=True)
    assert circuit.places(32, 0.0) == 32
    circuit.ended(uuid4(), 0.0, outage=False)
    for _ in range(ORDERS_TO_OPEN - 1):
        circuit.ended(uuid4(), 0.0, outage=True)
    assert circuit.closed, "a success began the row anew"
    circuit.ended(uuid4(), 0.0, outage=True)
    assert not circuit.closed
    assert circuit.places(32, 0.0) == 0


def test_one_order_that_always_fails_stops_no_other() -> None:
    circuit, bad = Circuit(LEASE), uuid4()
    for _ in range(100):
        circuit.ended(bad, 0.0, outage=True)
    assert circuit.places(32, 0.0) == 32


def test_a_probe_that_fails_doubles_the_pause_up_to_a_bound() -> None:
    circuit, now, pauses = opened(), FIRST_PAUSE, []
    for _ in range(8):
        probe(circuit, now, outage=True)
        pause = next(p for p in range(100) if circuit.places(1, now + p))
        pauses.append(pause)
        now += pause
    assert pauses[:3] == [2, 4, 8]
    assert set(pauses[3:]) == {LONGEST_PAUSE}


def test_some_good_probes_in_a_row_close_it() -> None:
    circuit, now = opened(), FIRST_PAUSE
    probe(circuit, now, outage=False)
    probe(circuit, now, outage=True)
    now += LONGEST_PAUSE
    for _ in range(PROBES_TO_CLOSE - 1):
        probe(circuit, now, outage=False)
        assert not circuit.closed
    probe(circuit, now, outage=False)
    assert circuit.places(32, now) == 32


@pytest.mark.parametrize("outage", [True, False])
def test_calls_that_began_before_it_opened_say_nothing_of_now(outage: bool) -> None:
    circuit = opened()
    for _ in range(50):
        circuit.ended(uuid4(), 0.5, outage=outage)
    assert not circuit.closed
    assert circuit.places(32, FIRST_PAUSE) == 1


def test_a_probe_whose_outcome_never_comes_is_followed_by_another() -> None:
    circuit = opened()
    circuit.probe(uuid4(), FIRST_PAUSE)
    assert circuit.places(32, FIRST_PAUSE + LEASE - 1) == 0
    assert circuit.places(32, FIRST_PAUSE + LEASE) == 1
