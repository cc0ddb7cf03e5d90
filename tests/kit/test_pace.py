"""When a consumer rests, and for how long. Pure."""

import pytest

from services.kit.pace import Pace


def test_the_first_batch_after_a_silence_is_not_followed_by_a_rest() -> None:
    pace = Pace(500)
    assert pace.rest_after(1, 10.0, 10.02) == 0
    assert pace.rest_after(1, 20.0, 20.02) == 0


def test_under_load_a_small_batch_is_followed_by_a_rest_as_long_as_it_took() -> None:
    pace = Pace(500)
    pace.rest_after(3, 10.0, 10.02)
    assert pace.rest_after(3, 10.02, 10.05) == pytest.approx(0.03)
    # The rest does not make it look idle.
    assert pace.rest_after(3, 10.08, 10.1) == pytest.approx(0.02)


def test_a_large_batch_is_followed_by_the_next_at_once() -> None:
    pace = Pace(500)
    pace.rest_after(3, 10.0, 10.02)
    assert pace.rest_after(100, 10.02, 10.05) == 0


def test_a_full_batch_is_a_large_one() -> None:
    pace = Pace(1)
    pace.rest_after(1, 10.0, 10.02)
    assert pace.rest_after(1, 10.02, 10.05) == 0


def test_nobody_rests_for_long() -> None:
    pace = Pace(500)
    pace.rest_after(3, 10.0, 10.02)
    assert pace.rest_after(3, 10.02, 13.02) == 0.05
