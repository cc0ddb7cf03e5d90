"""The documentation says what the code says, and points at what is there."""

import re
from pathlib import Path

import pytest

from docs.generate import README, ROOT, documents, fill

PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]


@pytest.mark.parametrize("path", documents(), ids=lambda path: path.name)
def test_generated_parts_are_what_the_code_says(path: Path) -> None:
    assert path.read_text() == documents()[path], f"{path.name} is stale: run `make docs`"


def test_nothing_outside_the_markers_is_touched() -> None:
    page = "before\n<!-- generated: x -->\nold\n<!-- end: x -->\nafter\n"
    filled = fill(page, "x", "new")
    assert filled == "before\n<!-- generated: x -->\n\nnew\n\n<!-- end: x -->\nafter\n"
    assert fill(filled, "x", "new") == filled


@pytest.mark.parametrize("page", ["no markers", "<!-- end: x -->\n<!-- generated: x -->\n"])
def test_a_page_without_its_markers_is_refused(page: str) -> None:
    with pytest.raises(ValueError, match="generated: x"):
        fill(page, "x", "new")


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)\s]+)\)", page.read_text())
    here = [target for target in targets if not target.startswith(("http://", "https://"))]
    broken = [target for target in here if not _is_there(page, target)]
    assert not broken, f"{page.name} points at nothing: {broken}"


def _is_there(page: Path, target: str) -> bool:
    path, _, anchor = target.partition("#")
    file = page.parent / path if path else page
    return file.exists() and (not anchor or anchor in _anchors(file))


def _anchors(page: Path) -> set[str]:
    """Of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    # In code only: prose makes things, too.
    code = re.findall(r"```.*?```|`[^`\n]+`", page.read_text(), re.DOTALL)
    named = {name for text in code for name in re.findall(r"\bmake ([a-z][a-z-]*)", text)}
    assert named <= targets


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, to_read = {README}, [README]
    while to_read:
        page = to_read.pop()
        for target in re.findall(r"\]\(([^)#\s]+\.md)", page.read_text()):
            found = (page.parent / target).resolve()
            if found.exists() and found not in reached:
                reached.add(found)
                to_read.append(found)
    assert set(PAGES) <= reached
