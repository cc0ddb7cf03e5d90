"""When a consumer's client has to be replaced by another.

A task inside aiokafka that dies of a lost connection takes nobody with it, and nobody starts it
again: the process lives, has its partitions, and fetches nothing, or learns nothing of the cluster
any more and waits for the group's coordinator for ever.
"""

import math
import time

from services.kit.member import answers
from services.kit.offsets import Offsets
from services.kit.settings import ServiceSettings
from services.kit.telemetry import log

_DEAF_AFTER = 10.0
_AILING_AFTER = 10.0


class Ailment:
    """Of the client that one consumer has at the moment."""

    def __init__(self, settings: ServiceSettings, offsets: Offsets) -> None:
        self._settings = settings
        self._offsets = offsets
        self._away_since = math.inf
        self._suspected = False
        self._replaced_in_vain = False

    @property
    def broker_away(self) -> bool:
        """Whether the broker does not answer this client."""
        return self._away_since < math.inf

    def answered(self) -> None:
        self._away_since = math.inf

    def unanswered(self, error: Exception) -> None:
        if not self.broker_away:
            log.warning("the broker does not answer", error=repr(error))
            self._away_since = time.monotonic()

    def replaced(self, *, in_vain: bool = False) -> None:
        """By one that joined its group, or (in vain) by one that could not."""
        self._replaced_in_vain = in_vain
        self._suspected = False
        self._away_since = math.inf

    async def found(self, idle_for: float) -> str | None:
        """Why it must be replaced; `idle_for`: seconds without a batch although there is work."""
        if self._replaced_in_vain:
            return "the last try failed"
        if idle_for > _DEAF_AFTER and not self.broker_away:
            return "nothing is heard although there is work"
        since = min(self._away_since, self._offsets.failing_since)
        if since == math.inf:
            self._suspected = False
        if time.monotonic() - since < _AILING_AFTER:
            return None
        answered = await answers(self._settings)
        if answered and self._suspected:
            return "the broker answers others"
        # Once the broker is back, the client has some time to find out.
        self._suspected = answered
        self._excuse()
        return None

    def _excuse(self) -> None:
        now = time.monotonic()
        if self.broker_away:
            self._away_since = now
        if self._offsets.failing_since < math.inf:
            self._offsets.failing_since = now
