"""The previous release beside this one in short: all services change at once, forward and back, at
a modest rate; see `make upgrade`."""

from pathlib import Path

import pytest

from deploy.local.errors import StackError
from tests.faults.release import previous_release
from tests.faults.trial import HOME
from tests.faults.upgrade import upgrade


@pytest.mark.timeout(300)
async def test_two_releases_work_side_by_side_forward_and_back() -> None:
    judgement = await upgrade(rate=10, short=True, home=HOME.with_name("faults-upgrade"))
    assert not judgement.wrong, judgement.wrong[:10]


def test_a_release_that_the_repository_does_not_have_is_asked_for(tmp_path: Path) -> None:
    named = tmp_path / "previous-release"
    named.write_text("0" * 40)
    with pytest.raises(StackError, match="git fetch --unshallow"):
        previous_release(named)
