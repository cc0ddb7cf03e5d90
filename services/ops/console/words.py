"""Times, ages and money as people read them. Pure; all times are UTC."""

from datetime import datetime, timedelta
from uuid import UUID

from contracts.cart import decimals_of, format_money

_LONGEST_AMOUNT = 18
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def moment(at: datetime | None) -> str:
    """To the millisecond."""
    return "-" if at is None else f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03}"


def clock(at: datetime) -> str:
    """The same without the day."""
    return moment(at)[11:]


def age(since: datetime | None, now: datetime) -> str:
    """How long ago, in the two largest units that matter: `3 d 4 h`, `12 min 5 s`."""
    return "-" if since is None else span(now - since)


def span(length: timedelta) -> str:
    seconds = max(int(length.total_seconds()), 0)
    for place, (size, unit) in enumerate(_UNITS):
        if seconds >= size:
            whole, rest = divmod(seconds, size)
            smaller, name = _UNITS[min(place + 1, len(_UNITS) - 1)]
            more = f" {rest // smaller} {name}" if rest >= smaller and size > 1 else ""
            return f"{whole} {unit}{more}"
    return "0 s"


def lapse(length: timedelta) -> str:
    """Between two steps of an order: `+23 ms`, `+1.42 s`, `+12 min 5 s`."""
    ms = max(round(length.total_seconds() * 1000), 0)
    if ms < 1000:
        return f"+{ms} ms"
    if ms < 60_000:
        return f"+{ms / 1000:.2f} s"
    return f"+{span(length)}"


def money(amount: int | None, currency: str | None) -> str:
    return "-" if amount is None or currency is None else format_money(amount, currency)


def minor_units(text: str, currency: str) -> int | None:
    """The amount that somebody wrote, as `12.50`; None where it is none of that currency."""
    whole, _, rest = text.partition(".")
    decimals = decimals_of(currency)
    digits = whole + rest.ljust(decimals, "0")
    if not whole or len(rest) > decimals or not (digits.isascii() and digits.isdigit()):
        return None
    return int(digits) if len(digits) <= _LONGEST_AMOUNT else None


def id_at(at: datetime) -> UUID:
    """The first id that can have been given at that time: ids of orders begin with theirs."""
    return UUID(int=max(int(at.timestamp() * 1000), 0) << 80)


def name_of(message_type: str | None) -> str:
    """`reserve-stock` of `inventory.reserve-stock.v1`."""
    if not message_type:
        return "unreadable"
    return message_type.partition(".")[2].rpartition(".")[0] or message_type
