"""Crash points: places where tests let a process die as by power failure.

`CRASH_AT=after-commit` makes the process kill itself at `crash_point("after-commit")`. Without
the setting a crash point is one comparison.
"""

import os
import signal
from typing import Final, Literal

CrashPoint = Literal[
    "before-commit",  # a batch had its effects, and nothing of them is committed
    "after-commit",  # the batch is committed, nothing of it is published yet
    "after-publish",  # published, the offsets are not acknowledged yet
    "after-stripe-call",  # Stripe did it, the outcome is not stored yet
    "after-mail",  # the mail server has it, that is not stored yet
    "mid-sweep",  # a sweeper has leased or decided, nothing is committed or published yet
]

_ARMED: Final = os.environ.get("CRASH_AT")


def crash_point(name: CrashPoint) -> None:
    if name == _ARMED:
        os.kill(os.getpid(), signal.SIGKILL)
