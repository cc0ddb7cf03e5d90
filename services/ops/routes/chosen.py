"""The answers to what is asked under an id of the caller's choice."""

from collections.abc import Iterator
from contextlib import contextmanager

from services.kit.problems import ApiProblem
from services.ops.asking import OtherRequest, UnusableId


@contextmanager
def chosen(name: str) -> Iterator[None]:
    """Around the asking: 422 where the id, called `name`, cannot be a new one, 409 where it is that
    of something else."""
    try:
        yield
    except UnusableId as error:
        raise ApiProblem(422, f"{name}: {error}") from None
    except OtherRequest as error:
        raise ApiProblem(409, str(error)) from None
