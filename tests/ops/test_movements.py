"""How stock was day by day, for how long it will do, and how that is drawn."""

from datetime import date, timedelta
from uuid import uuid4
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ops.movements import ON_LEVEL, Kind, StockRecord, cover, history, movements
from services.ops.plot import Point, stock_svg
from tests.ops.stock import NOON

FIRST = date(2026, 11, 1)
LAST = date(2026, 11, 28)
SVG = "{http://www.w3.org/2000/svg}"

Cells = dict[tuple[date, Kind], int]
CELLS = st.dictionaries(
    st.tuples(st.dates(FIRST, LAST + timedelta(days=3)), st.sampled_from(list(ON_LEVEL))),
    st.integers(0, 50),
)


@given(level=st.integers(0, 1000), cells=CELLS)
def test_each_days_level_follows_from_the_day_before_and_what_moved(
    level: int, cells: Cells
) -> None:
    days = history(level, cells, FIRST, LAST)
    assert [day.day for day in days] == [FIRST + timedelta(days=n) for n in range(28)]
    before = days[0].level
    for day in days[1:]:
        assert before is not None
        moved = day.received + day.restored + day.returned - day.reserved - day.written_off
        before += moved
        assert day.level == before
    # A clock that is ahead: what moved later than today is not there at the end of today.
    later = sum(ON_LEVEL[kind] * n for (day, kind), n in cells.items() if day > LAST)
    assert days[-1].level == level - later


def test_a_level_that_nobody_told_is_not_made_up() -> None:
    assert {day.level for day in history(None, {(LAST, "received"): 3}, FIRST, LAST)} == {None}


def test_a_movement_of_the_year_9999_costs_no_time() -> None:
    cells: Cells = {(date.max, "received"): 1}
    assert len(history(1, cells, FIRST, LAST)) == 28


def test_how_long_stock_will_do() -> None:
    assert cover(10, 4) == 2.5
    assert cover(0, 4) == 0
    assert cover(10, 0) is None
    assert cover(None, 4) is None


def test_a_refused_order_and_a_tombstone_move_nothing() -> None:
    told = [StockRecord(uuid4(), action, NOON, ()) for action in ("rejected", "restored")]
    assert list(movements(told)) == []


def test_the_plot_has_a_line_for_the_level_and_a_bar_for_each_day() -> None:
    points = [Point("2026-11-01", None, 0), Point("2026-11-02", 8, 2), Point("2026-11-03", 4, 4)]
    root = ElementTree.fromstring(stock_svg("Oak <frame> & \x0b A3", points))
    assert root.get("aria-label") == (
        "Stock of Oak <frame> &  A3, 2026-11-01 to 2026-11-03: 6 sold, level 4"
    )
    (path,) = root.iter(f"{SVG}path")
    assert path.get("d", "").startswith("M272.0 48.0 H488.0 L488.0 122.0")
    heights = [float(each.get("height", "")) for each in root.iter(f"{SVG}rect")][1:]
    assert heights == [0, 30, 60]
    assert "style" not in "".join(name for each in root.iter() for name in each.attrib)


def test_a_plot_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one day"):
        stock_svg("Oak frame", [])


def test_a_plot_of_a_day_without_stock_can_be_drawn() -> None:
    ElementTree.fromstring(stock_svg("Oak frame", [Point("2026-11-01", 0, 0)]))
