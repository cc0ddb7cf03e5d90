"""Orders that wait for another service's answer, the longest waiting first."""

from datetime import timedelta

from fastapi import APIRouter, Request, Response

from services.kit.work import utc_now
from services.ops.console.pages import page
from services.ops.console.session import Reader
from services.ops.ops import TheOps
from services.ops.rules import WAITS_FOR
from services.ops.store import orders

router = APIRouter()

MOST = 200


@router.get("/sagas")
async def list_sagas(
    request: Request, ops: TheOps, visitor: Reader, state: str = "", part: bool = False
) -> Response:
    """Of one saga state or of all in which an answer is owed; those over the limit are stuck."""
    now = utc_now()
    chosen = [state] if state in WAITS_FOR else list(WAITS_FOR)
    rows = await orders.list_stuck(ops.service.pool, chosen, now, MOST)
    since = now - timedelta(seconds=ops.settings.stuck_after_seconds)
    return page(
        request,
        visitor,
        "sagas_now.html" if part else "sagas.html",
        sagas=[{**row, "stuck": row["saga_since"] <= since} for row in rows],
        stuck=sum(row["saga_since"] <= since for row in rows),
        waits_for=WAITS_FOR,
        state=state if state in WAITS_FOR else "",
        most=MOST,
        stuck_after=ops.settings.stuck_after_seconds,
    )
