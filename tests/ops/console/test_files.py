"""The files of the console that others wrote are theirs, and unchanged."""

import hashlib

from services.ops.console.app import STATIC

HTMX = "d6fdc75f204e6bdefa99b69bf1e6d4ac69b8a364f77929f45c13476b4000f717"
"""Of dist/htmx.min.js in htmx.org 2.0.11, as the npm registry has it."""


def test_htmx_is_the_file_that_was_published() -> None:
    assert hashlib.sha256((STATIC / "htmx-2.0.11.min.js").read_bytes()).hexdigest() == HTMX
    assert "Zero-Clause BSD" in (STATIC / "htmx.LICENSE").read_text()
