"""The audit: its chains, its newest records, and the proof."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from services.ops.console.pages import page
from services.ops.console.session import Reader
from services.ops.ops import TheOps
from services.ops.routes import audit as api
from services.ops.store import audit

router = APIRouter()

PAGE = 50


@router.get("/audit")
async def show_audit(
    request: Request,
    ops: TheOps,
    visitor: Reader,
    before: Annotated[int | None, Query(ge=0, lt=2**63)] = None,
) -> Response:
    pool = ops.service.pool
    rows = await audit.find_older(pool, before, PAGE + 1)
    return page(
        request,
        visitor,
        "audit.html",
        heads=await audit.find_heads(pool),
        records=rows[:PAGE],
        older=rows[PAGE - 1]["id"] if len(rows) > PAGE else None,
        newest=before is None,
    )


@router.get("/audit/verdict")
async def show_verdict(request: Request, ops: TheOps, visitor: Reader) -> Response:
    """Reads all of the audit: a moment for thousands of records, minutes for millions."""
    part = "HX-Request" in request.headers
    return page(
        request,
        visitor,
        "verdict.html" if part else "verdict_page.html",
        verdict=await api.verdict(ops, visitor.caller),
    )
