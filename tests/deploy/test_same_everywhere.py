"""Containers and the stack without them are the same system: what is written twice is equal."""

import re
from collections.abc import Mapping

import pytest

from deploy.local.environment import LOCK
from deploy.local.home import PROJECT
from deploy.local.java import KAFKA_VERSION
from deploy.local.kafka import JVM_OPTIONS, ONE_NODE
from deploy.local.postgres import VERSION

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
    used = re.findall(r"(?:source: |      - |\[)(\w+_(?:password|secret|key))\b", block)
    for name in used:
        assert f"/{name}" in COMPOSE.partition("\nsecrets:\n")[2]
        assert (PROJECT / "deploy" / "compose" / "secrets" / name).read_text().strip()


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
