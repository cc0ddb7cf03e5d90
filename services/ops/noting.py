"""Writing a note on an order: once for each id, and never changed after that."""

from typing import Annotated, Any, Final

from pydantic import StringConstraints

from services.kit.work import Work
from services.ops.asking import OtherRequest, check_new
from services.ops.store import notes
from services.ops.store.notes import Note

LONGEST_NOTE: Final = 2000
"""Characters; the database has the same limit."""
Text = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True, min_length=1, max_length=LONGEST_NOTE, pattern=r"^[^\x00]+$"
    ),
]


async def write(work: Work, note: Note) -> dict[str, Any]:
    """Keep the note, unless that was done before; as it is kept.

    Raises:
        UnusableId, OtherRequest
    """
    found = await notes.find_note(work.db, note.id)
    if found is None:
        check_new(note.id, work.now)
        await notes.insert_note(work.db, note, work.now)
        found = await notes.find_note(work.db, note.id)  # another replica's, if that was first
    kept = dict(found or {})
    if any(kept[name] != value for name, value in note._asdict().items()):
        raise OtherRequest(f"{note.id} is another note")
    return kept
