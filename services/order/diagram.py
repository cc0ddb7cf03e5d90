"""The saga's table as a Mermaid diagram; `make docs` writes it into the README."""

from collections import defaultdict

from services.order.order import STATUS, State
from services.order.saga import TRANSITIONS, Go


def mermaid() -> str:
    """Every move of the table; events that make the same move share an arrow."""
    moves: dict[tuple[State, State, tuple[str, ...]], list[str]] = defaultdict(list)
    for (state, event), rule in TRANSITIONS.items():
        if isinstance(rule, Go) and rule.state is not None and rule.state is not state:
            sent = tuple(command.__name__ for command in rule.send)
            moves[state, rule.state, sent].append(event.__name__)
    lines = ["stateDiagram-v2", f"  [*] --> {State.RESERVING}: PlaceOrder / reserve_stock"]
    for (state, target, sent), events in moves.items():
        label = ", ".join(events) + (f" / {', '.join(sent)}" if sent else "")
        lines.append(f"  {state} --> {target}: {label}")
    lines += [
        f"  note right of {state}: shown as {status}"
        for state, status in STATUS.items()
        if status is not None and status.value != state.value
    ]
    return "\n".join(lines)
