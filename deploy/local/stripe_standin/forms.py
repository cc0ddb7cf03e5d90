"""Parameters: from the bracketed form encoding to checked Python values, with Stripe's errors."""

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any
from urllib.parse import parse_qsl

from deploy.local.stripe_standin.errors import Json, invalid

Parser = Callable[[str, Any], Any]

_NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
_MAX_FIELDS = 1000
_MAX_METADATA_KEYS, _MAX_METADATA_KEY, _MAX_METADATA_VALUE = 50, 40, 500


def decode(encoded: str) -> Json:
    """`a[b]=1&c[]=2` as `{"a": {"b": "1"}, "c": {"0": "2"}}`; lists are told apart by `array`."""
    try:
        pairs = parse_qsl(encoded, keep_blank_values=True, max_num_fields=_MAX_FIELDS)
    except ValueError as error:
        raise invalid(f"Invalid form: {error}") from error
    tree: Json = {}
    for name, value in pairs:
        match = _NAME.fullmatch(name)
        if not match:
            raise invalid(f"Invalid parameter name: {name}", param=name)
        *outer, last = [match[1], *re.findall(r"\[([^\]]*)\]", match[2])]
        branch = tree
        for part in outer:
            branch = branch.setdefault(part, {})
            if not isinstance(branch, dict):
                raise invalid(f"Invalid {match[1]}: it is both a value and a hash", param=match[1])
        branch[last or str(len(branch))] = value
    return tree


def read(params: Json, spec: Mapping[str, Parser], required: Collection[str] = ()) -> Json:
    """The parameters of `spec`, each parsed. `expand` is allowed everywhere and left out.

    Raises StripeError for unknown, missing and malformed ones.
    """
    unknown = [name for name in params if name not in spec and name != "expand"]
    if unknown:
        plural = "s" if len(unknown) > 1 else ""
        raise invalid(
            f"Received unknown parameter{plural}: {', '.join(unknown)}",
            code="parameter_unknown",
            param=unknown[0],
        )
    for name in required:
        if name not in params:
            raise invalid(f"Missing required param: {name}.", code="parameter_missing", param=name)
    return {name: spec[name](name, value) for name, value in params.items() if name in spec}


def text(name: str, value: Any) -> str:
    """A string that is not empty."""
    if not isinstance(value, str):
        raise invalid(f"Invalid string: {value}", param=name)
    if value == "":
        raise invalid(
            f"You passed an empty string for '{name}'. We assume empty values are an attempt to "
            f"unset a parameter; however '{name}' cannot be unset. You should remove '{name}' "
            "from your request or supply a non-empty value.",
            code="parameter_invalid_empty",
            param=name,
        )
    return value


def optional_text(name: str, value: Any) -> str | None:
    """A string; the empty one unsets."""
    return None if value == "" else text(name, value)


def integer(name: str, value: Any) -> int:
    """A whole number."""
    if not isinstance(value, str) or not re.fullmatch(r"-?\d{1,18}", value):
        raise invalid(f"Invalid integer: {value}", code="parameter_invalid_integer", param=name)
    return int(value)


def positive(name: str, value: Any) -> int:
    """A whole number from 1 on."""
    number = integer(name, value)
    if number < 1:
        raise invalid(
            "This value must be greater than or equal to 1.",
            code="parameter_invalid_integer",
            param=name,
        )
    return number


def boolean(name: str, value: Any) -> bool:
    """`true` or `false`."""
    if value not in ("true", "false"):
        raise invalid(f"Invalid boolean: {value}", param=name)
    return bool(value == "true")


def choice(*allowed: str) -> Parser:
    """One of the given words."""

    def parse(name: str, value: Any) -> str:
        if value not in allowed:
            *most, last = allowed
            listed = f"{', '.join(most)}, or {last}" if len(most) > 1 else " or ".join(allowed)
            raise invalid(f"Invalid {name}: must be one of {listed}", param=name)
        return str(value)

    return parse


def mapping(name: str, value: Any) -> Json:
    """A hash, as it came."""
    if not isinstance(value, dict):
        raise invalid("Invalid object", param=name)
    return value


def array(name: str, value: Any) -> list[str]:
    """A list of strings, in the order of its indexes."""
    if not isinstance(value, dict) or not all(index.isdigit() for index in value):
        raise invalid("Invalid array", param=name)
    return [text(name, value[index]) for index in sorted(value, key=int)]


def metadata(name: str, value: Any) -> dict[str, str]:
    """Keys and values within Stripe's limits; an empty value unsets its key."""
    if value == "":
        return {}
    fields = mapping(name, value)
    if len(fields) > _MAX_METADATA_KEYS:
        raise invalid(f"Metadata can have at most {_MAX_METADATA_KEYS} keys", param=name)
    for key, content in fields.items():
        if len(key) > _MAX_METADATA_KEY:
            raise invalid(
                f"Metadata keys must be at most {_MAX_METADATA_KEY} characters long. "
                f"The key '{key}' is {len(key)} characters long.",
                param=name,
            )
        if not isinstance(content, str):
            raise invalid(f"Metadata values must be strings, but '{key}' is not", param=name)
        if len(content) > _MAX_METADATA_VALUE:
            raise invalid(
                f"Metadata values can have up to {_MAX_METADATA_VALUE} characters, but you passed "
                f"in a value that is {len(content)} characters. Invalid value: {content[:20]}...",
                param=name,
            )
    return fields


def merged(old: dict[str, str], new: dict[str, str]) -> dict[str, str]:
    """Metadata after an update: new keys win, empty values unset."""
    return {key: value for key, value in {**old, **new}.items() if value != ""}
