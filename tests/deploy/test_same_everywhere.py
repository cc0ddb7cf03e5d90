"""Containers and the stack without them are the same system: what is written twice is equal."""

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from deploy.local.environment import LOCK
from deploy.local.home import PROJECT
from deploy.local.java import KAFKA_VERSION
from deploy.local.kafka import JVM_OPTIONS, ONE_NODE
from deploy.local.postgres import ROLES, VERSION
from deploy.local.services import ORDERING, SERVICES
from deploy.local.stack import LocalStack

COMPOSE = (PROJECT / "docker-compose.yml").read_text()
SERVICES_LOCK = PROJECT / "deploy" / "requirements.lock"


def test_kafka_has_the_same_settings() -> None:
    wanted = dict(
        line.split("=", 1) for line in ONE_NODE.splitlines() if line and not line.startswith("#")
    )
    assert len(wanted) > 10
    for name, value in wanted.items():
        variable = f"KAFKA_{name.upper().replace('.', '_')}"
        assert _value_of(variable) == value
    heap = [option for option in JVM_OPTIONS if option.startswith("-Xm")]
    assert _value_of("KAFKA_HEAP_OPTS").split() == heap


def test_images_are_the_versions_of_the_packages() -> None:
    assert f"image: apache/kafka:{KAFKA_VERSION}\n" in COMPOSE
    assert f"image: postgres:{VERSION}\n" in COMPOSE


def test_the_image_has_the_packages_that_were_tested() -> None:
    """Each hash of the services' lock is one of the whole lock: `make lock` writes both."""
    tested, shipped = _hashes(LOCK.read_text()), _hashes(SERVICES_LOCK.read_text())
    assert len(shipped) > 30
    for name, hashes in shipped.items():
        assert hashes, name
        assert hashes <= tested[name], f"{name} is another one: run `make lock`"


@pytest.mark.parametrize("service", re.findall(r"^  ([a-z]+):\n    <<: \*", COMPOSE, re.MULTILINE))
def test_every_secret_of_a_service_is_declared_and_there(service: str) -> None:
    block = COMPOSE.partition(f"\n  {service}:\n    <<")[2].partition("\n\n")[0]
    used = re.findall(r"(?:source: |      - |\[)(\w+_(?:password|secret|key|url))\b", block)
    for name in used:
        assert f"/{name}" in COMPOSE.partition("\nsecrets:\n")[2]
        assert (PROJECT / "deploy" / "compose" / "secrets" / name).read_text().strip()


def test_no_service_is_forgotten() -> None:
    services, folder = {service.name for service in SERVICES}, PROJECT / "deploy" / "compose"
    assert services <= set(re.findall(r"^  ([a-z]+):$", COMPOSE, re.MULTILINE))
    scraping = PROJECT / "deploy" / "prometheus" / "prometheus.yml"
    scraped = re.search(r"names: \[(.*)\]", scraping.read_text())
    assert scraped
    assert set(scraped[1].split(", ")) == services
    restore = (folder / "restore.sh").read_text()
    told = re.search(r"^for database in (.*);", restore, re.MULTILINE)
    assert told
    assert set(told[1].split()) == {service.database for service in SERVICES if service.database}
    stopped = re.search(r"^docker compose stop (.*)", restore, re.MULTILINE)
    assert stopped
    assert set(stopped[1].split()) == services | {"postgres"}


def test_every_role_of_the_database_has_a_secret() -> None:
    entry = (PROJECT / "deploy" / "postgres" / "init.sh").read_text()
    named = re.search(r"^for name in (.*);", entry, re.MULTILINE)
    assert named
    assert set(named[1].split()) == set(ROLES)
    made = (PROJECT / "deploy" / "compose" / "new_secrets.sh").read_text()
    listed = re.search(r"\{(.*)\}_db_password", made)
    assert listed
    assert set(listed[1].split(",")) == set(ROLES)
    for role in ROLES:
        assert f"      - {role}_db_password\n" in COMPOSE


def test_every_secret_of_the_compose_file_is_made_for_who_runs_it(tmp_path: Path) -> None:
    subprocess.run(
        ["bash", PROJECT / "deploy" / "compose" / "new_secrets.sh", tmp_path],
        check=True,
        capture_output=True,
    )
    declared = re.findall(r"^  (\w+): \{file:", COMPOSE.partition("\nsecrets:\n")[2], re.MULTILINE)
    assert {file.name for file in tmp_path.iterdir()} == set(declared)


def test_a_stack_of_some_services_has_nothing_of_the_others(tmp_path: Path) -> None:
    """So that the fault harness neither waits for them nor gives them a share of the machine."""
    stack = LocalStack(tmp_path, only=ORDERING, linked=True)
    assert stack.postgres.keys() == set(ORDERING)
    assert {link.client for link in stack.links()} == {*ORDERING, "stripe"}


def _value_of(variable: str) -> str:
    found = re.search(rf"^ +{variable}: \"?([^\"\n]+)\"?$", COMPOSE, re.MULTILINE)
    assert found, f"{variable} is not in docker-compose.yml"
    return found[1]


def _hashes(lock: str) -> Mapping[str, set[str]]:
    packages = re.split(r"^(?=[\w.\-]+(?:\[[^\]]*\])?==)", lock, flags=re.MULTILINE)
    return {
        re.split(r"[\[=]", package)[0]: set(re.findall(r"sha256:[0-9a-f]{64}", package))
        for package in packages
        if "==" in package
    }
