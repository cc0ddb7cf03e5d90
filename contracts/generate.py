"""Writes what is generated from the contracts: a JSON schema per message, and AsyncAPI 3.

`make schemas` runs this; a test fails when what is committed is stale.
"""

import inspect
import json
from pathlib import Path
from typing import Any

from contracts.message import Message
from contracts.registry import MESSAGES
from contracts.topics import TOPICS, Topic

SCHEMAS = Path(__file__).parent / "schemas"
ASYNCAPI = Path(__file__).parent.parent / "docs" / "asyncapi.json"

Json = dict[str, Any]


def schema(message: type[Message]) -> Json:
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:orderflow:{message.wire_type}",
        **message.model_json_schema(mode="serialization"),
    }


def asyncapi() -> Json:
    """All topics as channels, with the messages that travel on them."""
    by_topic = {
        topic.name: [m for m in MESSAGES.values() if topic in m.topics()] for topic in TOPICS
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Orderflow",
            "version": "1.0.0",
            "description": "Orders, stock and payments as a saga over Apache Kafka. Envelopes are "
            "CloudEvents 1.0 in the Kafka binary binding.",
        },
        "defaultContentType": "application/json",
        "channels": {topic.name: _channel(topic, by_topic[topic.name]) for topic in TOPICS},
        "operations": {
            f"{topic.owner}.{_action(topic)}.{topic.name}": _operation(topic) for topic in TOPICS
        },
        "components": {"messages": {name: _message(m) for name, m in MESSAGES.items()}},
    }


def _channel(topic: Topic, messages: list[type[Message]]) -> Json:
    kept = "for ever, compacted" if topic.retention is None else f"{topic.retention.days} days"
    return {
        "address": topic.name,
        "description": f"Owned by {topic.owner}; keyed by {topic.key}; kept {kept}.",
        "messages": {
            m.wire_type: {"$ref": f"#/components/messages/{m.wire_type}"} for m in messages
        },
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "partitions": topic.partitions,
                "topicConfiguration": {
                    "cleanup.policy": ["compact" if topic.compacted else "delete"],
                    "retention.ms": -1 if topic.retention_ms is None else topic.retention_ms,
                },
            }
        },
    }


def _action(topic: Topic) -> str:
    return "receive" if topic.name.endswith((".commands", ".operations")) else "send"


def _operation(topic: Topic) -> Json:
    return {
        "action": _action(topic),
        "channel": {"$ref": f"#/channels/{topic.name}"},
        "title": f"{topic.owner} {_action(topic)}s {topic.name}",
    }


def _message(message: type[Message]) -> Json:
    return {
        "name": message.wire_type,
        "title": message.__name__,
        # Python 3.13 strips the indentation of docstrings, earlier versions keep it.
        "description": inspect.cleandoc(message.__doc__ or ""),
        "contentType": "application/json",
        "payload": _in_place(message),
    }


def _in_place(message: type[Message]) -> Json:
    """The payload's schema, with references that resolve inside the AsyncAPI document."""
    prefix = f"#/components/messages/{message.wire_type}/payload/$defs/"
    return message.model_json_schema(mode="serialization", ref_template=prefix + "{model}")


def as_text(document: Json) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def documents() -> dict[Path, str]:
    """Every generated file and what it must hold."""
    files = {SCHEMAS / f"{name}.json": as_text(schema(m)) for name, m in MESSAGES.items()}
    return files | {ASYNCAPI: as_text(asyncapi())}


def main() -> None:
    SCHEMAS.mkdir(exist_ok=True)
    wanted = documents()
    for path in SCHEMAS.glob("*.json"):
        if path not in wanted:
            path.unlink()
    for path, text in wanted.items():
        path.write_text(text)
    print(f"{len(wanted)} files written")


if __name__ == "__main__":
    main()
