"""Who may do what in the ops service: one table, for its API, its console and its command line.

A route asks for a task (`May`); it never looks at a role itself. A task that can be undone, or
asked for again, is an operator's; what cannot be taken back is left to admins.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from services.kit.auth import Caller, SignedIn
from services.kit.problems import ApiProblem
from services.ops.bulk import Action


class Role(StrEnum):
    """As in a token's `roles`; the least first."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


class Task(StrEnum):
    """What somebody may or may not do."""

    LOOK = "look"
    REPLAY = "replay"
    MOVE_ORDERS = "move orders"
    RETRY_ORDERS = "retry orders"
    CHECK_PAYMENTS = "have Stripe asked"
    WRITE_NOTES = "write notes"
    DISCARD = "discard"
    CANCEL_ORDERS = "cancel orders"
    REFUND_ORDERS = "refund orders"
    ADJUST_STOCK = "adjust stock"


WHO: Final[Mapping[Task, tuple[Role, ...]]] = {
    Task.LOOK: (Role.VIEWER, Role.OPERATOR, Role.ADMIN),
    Task.REPLAY: (Role.OPERATOR, Role.ADMIN),
    Task.MOVE_ORDERS: (Role.OPERATOR, Role.ADMIN),
    Task.RETRY_ORDERS: (Role.OPERATOR, Role.ADMIN),
    Task.CHECK_PAYMENTS: (Role.OPERATOR, Role.ADMIN),
    Task.WRITE_NOTES: (Role.OPERATOR, Role.ADMIN),
    Task.DISCARD: (Role.ADMIN,),
    Task.CANCEL_ORDERS: (Role.ADMIN,),
    Task.REFUND_ORDERS: (Role.ADMIN,),
    Task.ADJUST_STOCK: (Role.ADMIN,),
}

_OF_A_BULK: Final = {
    Action.CANCEL: Task.CANCEL_ORDERS,
    Action.REFUND: Task.REFUND_ORDERS,
    Action.RETRY: Task.RETRY_ORDERS,
    Action.RETRY_REFUND: Task.REFUND_ORDERS,
    Action.SETTLE_REFUND: Task.REFUND_ORDERS,
}


def task_of(action: Action) -> Task:
    """What has to be allowed for a bulk of this action."""
    return _OF_A_BULK.get(action, Task.MOVE_ORDERS)


def can(caller: Caller, task: Task) -> bool:
    return not caller.roles.isdisjoint(WHO[task])


def demand(caller: Caller, task: Task) -> None:
    """Raises ApiProblem (403) with the roles that would do."""
    if not can(caller, task):
        raise ApiProblem(403, f"This needs the role {roles_for(task)}")


def roles_for(task: Task) -> str:
    """For people: `viewer, operator or admin`."""
    *others, last = WHO[task]
    return f"{', '.join(others)} or {last}" if others else last


def role_of(caller: Caller) -> str:
    """The highest role of somebody, for people to read; empty without any."""
    return next((role for role in reversed(Role) if role in caller.roles), "")


@dataclass(frozen=True, slots=True)
class May:
    """The dependency of a route: its caller, who may do this.

    caller: Annotated[Caller, Depends(May(Task.REPLAY))]
    """

    task: Task

    async def __call__(self, caller: SignedIn) -> Caller:
        demand(caller, self.task)
        return caller
