"""The commands of the inner loop: what restarts after an edit or a changed setting, whose log lines
belong to an order, and which Python the environment takes."""

import re
import tomllib
from pathlib import Path

import pytest

from deploy.local.development import affected, trace
from deploy.local.environment import NEWEST, OLDEST, VENV, is_satisfied, locked
from deploy.local.home import PROJECT
from deploy.local.services import SERVICES
from deploy.local.stack import LocalStack

ORDER = "019eb2c4-58a1-7d2c-9c11-0a4d5e6f7081"


def test_an_edited_service_restarts_alone() -> None:
    assert affected([Path("services/order/saga.py")]) == {"order"}
    assert affected([Path("services/ops/console/templates/order.html")]) == {"ops"}
    assert affected([Path("deploy/local/stripe_standin/intents.py")]) == {"stripe"}
    assert affected([Path("deploy/local/kafka.py")]) == set()


@pytest.mark.parametrize("path", ["services/kit/outbox.py", "contracts/order.py"])
def test_an_edit_of_the_kit_or_the_contracts_restarts_every_service(path: str) -> None:
    assert affected([Path(path)]) == {service.name for service in SERVICES}


def test_only_the_services_that_read_a_setting_restart_when_it_changes(tmp_path: Path) -> None:
    def digests(**environment: str) -> dict[str, str]:
        stack = LocalStack(tmp_path, environment=environment)
        return {service.name: stack._digest(service.name) for service in SERVICES}

    before, after = digests(), digests(RESERVATION_SECONDS="5")
    assert {name for name in before if before[name] != after[name]} == {"order"}
    assert digests(SHELL_OF_A_DEVELOPER="1") == before


def test_an_order_is_followed_through_all_logs_by_time(tmp_path: Path) -> None:
    stack = LocalStack(tmp_path)
    stack.home.logs.mkdir()
    (stack.home.logs / "payment.log").write_text(
        "2026-11-30T10:00:02.5Z [error] message failed key=another\n"
        f"2026-11-30T10:00:03.5Z [error] message failed key={ORDER}\n"
        "Traceback (most recent call last):\n"
        "ValueError: odd\n"
    )
    (stack.home.logs / "order.log").write_text(f"2026-11-30T10:00:01.5Z [info] moved {ORDER}\n")
    (stack.home.logs / "postgres.log").write_text(
        f"2026-11-30 10:00:02.000 UTC [7] LOG:  statement about {ORDER}\n"
    )
    found = trace(stack, ORDER)
    assert [entry.process for entry in found] == ["order", "postgres", "payment"]
    assert found[-1].text.endswith("ValueError: odd")


def test_the_lock_is_for_the_pythons_that_the_project_supports() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    lowest, above = re.findall(r"3\.(\d+)", project["requires-python"])
    assert ((3, int(lowest)), (3, int(above) - 1)) == (OLDEST, NEWEST)


def test_an_environment_that_lacks_a_locked_package_is_made_anew(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text("pytest==0.1 \\\n    --hash=sha256:00\nnone ; sys_platform == 'win32'\n")
    assert locked(lock) == ["pytest==0.1", "none ; sys_platform == 'win32'"]
    assert not is_satisfied(VENV, lock)
    lock.write_text("none==1.0 ; sys_platform == 'win32'\n")
    assert is_satisfied(VENV, lock)
