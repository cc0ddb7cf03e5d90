"""What addresses may say: PostgreSQL keeps no NUL, and no time is a million years away."""

from typing import Annotated, Final

from fastapi import Path, Query

_NO_NUL: Final = r"^[^\x00]*$"

Named = Annotated[str, Path(max_length=300, pattern=_NO_NUL)]
"""A part of the path: an order's id, a PaymentIntent's, a service."""

Text = Annotated[str, Query(max_length=300, pattern=_NO_NUL)]
Seconds = Annotated[float, Query(ge=0, le=86400 * 365)]
