"""What is on the wire stays readable: for services of the next release, and of the last one."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from faststream.specification.asyncapi.v3_0_0.schema import ApplicationSchema
from jsonschema import Draft202012Validator

from contracts.generate import asyncapi, documents, schema
from contracts.message import Envelope
from contracts.registry import MESSAGES
from contracts.topics import DEAD_LETTERS, OPERATIONS, PARTITIONS, TOPICS

EXAMPLES = Path(__file__).parents[2] / "contracts" / "examples"
GOLDEN = sorted(EXAMPLES.rglob("*.json"))


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.name)
def test_generated_files_are_what_the_code_says(path: Path) -> None:
    assert path.exists(), f"{path.name} is missing: run `make schemas`"
    assert path.read_text() == documents()[path], f"{path.name} is stale: run `make schemas`"


def test_no_schema_is_left_of_a_message_that_is_gone() -> None:
    folder = Path(__file__).parents[2] / "contracts" / "schemas"
    assert {path.stem for path in folder.glob("*.json")} == MESSAGES.keys()


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_message_ever_written_still_says_the_same(path: Path) -> None:
    """A field that was dropped, renamed, retyped or made required fails here: make it a `.v2`."""
    golden = json.loads(path.read_text())
    envelope = Envelope.parse([(name, text.encode()) for name, text in golden["headers"].items()])
    assert {name: value.decode() for name, value in envelope.headers()} == golden["headers"]
    message = MESSAGES[envelope.type].model_validate_json(json.dumps(golden["value"]))
    assert message.key == golden["key"]
    assert message.destination.name == golden["topic"]
    missing = _missing(golden["value"], json.loads(message.model_dump_json()))
    assert not missing, f"no longer read: {missing}"
    Draft202012Validator(schema(type(message))).validate(json.loads(message.model_dump_json()))


def _missing(golden: Any, now: Any, where: str = "") -> list[str]:
    """What `golden` says that `now` does not; new fields are welcome."""
    if isinstance(golden, dict) and isinstance(now, dict):
        return [
            lost
            for name, value in golden.items()
            for lost in (
                _missing(value, now[name], f"{where}.{name}")
                if name in now
                else [f"{where}.{name}"]
            )
        ]
    if isinstance(golden, list) and isinstance(now, list) and len(golden) == len(now):
        pairs = enumerate(zip(golden, now, strict=True))
        return [lost for i, (a, b) in pairs for lost in _missing(a, b, f"{where}[{i}]")]
    return [] if golden == now else [where]


def test_every_message_has_golden_examples() -> None:
    assert {path.parent.name for path in GOLDEN} >= MESSAGES.keys()


def test_golden_examples_are_only_ever_added() -> None:
    root = EXAMPLES.parents[1]
    if not (root / ".git").exists():
        pytest.skip("not a git checkout, so there is no history to look at")
    command = ["git", "log", "--diff-filter=MD", "--format=", "--name-only", "--", str(EXAMPLES)]
    history = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    assert history.stdout.split() == []


def test_wire_names_and_topics_follow_their_owner() -> None:
    for name, message in MESSAGES.items():
        owner, _, version = name.partition(".")[0], *name.rpartition(".v")[1:]
        assert version.isdigit(), name
        for topic in message.topics():
            assert topic in TOPICS, name
            told_by = {topic.owner, topic.name.partition(".")[0], topic.name.rpartition(".")[2]}
            assert owner in told_by, f"{name} travels on {topic.name}"


def test_one_orders_messages_share_a_partition_number_everywhere() -> None:
    not_of_an_order = {*DEAD_LETTERS.values(), *OPERATIONS.values()}
    assert {topic.partitions for topic in TOPICS if topic not in not_of_an_order} == {PARTITIONS}


def test_whoever_parks_messages_can_be_asked_to_replay_them() -> None:
    assert DEAD_LETTERS.keys() == OPERATIONS.keys()


def test_the_asyncapi_document_is_one() -> None:
    document = asyncapi()
    ApplicationSchema.model_validate(document)
    for channel in document["channels"].values():
        assert channel["messages"], f"nothing travels on {channel['address']}"


def test_personal_data_travels_on_one_topic() -> None:
    personal = {"email", "shipping_address", "postal_code", "line1", "phone"}
    for name, message in MESSAGES.items():
        if message.topic.name != "customer.contacts":
            fields = json.dumps(schema(message))
            assert not [word for word in personal if f'"{word}"' in fields], name
