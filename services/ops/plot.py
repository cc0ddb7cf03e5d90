"""A product's stock over time as SVG: the level as a line, what was sold as bars. Pure.

Presentation attributes only, so that a page with a strict content security policy can hold it.
"""

from collections.abc import Sequence
from html import escape
from typing import Final, NamedTuple

_WIDTH, _LEFT, _RIGHT = 720, 56, 704
_LEVEL: Final = (48, 196)
_SOLD: Final = (226, 286)
"""Top and bottom of the two panels."""
_HEIGHT: Final = 320
_INK, _FAINT, _LINE, _BAR = "#3b4252", "#d8dee9", "#1f6f8b", "#c77d2e"


class Point(NamedTuple):
    """One day of the plot."""

    label: str
    level: int | None
    sold: int


def stock_svg(name: str, points: Sequence[Point]) -> str:
    """The plot as a document; points are days without gaps, the oldest first.

    Raises:
        ValueError: there are no points.
    """
    if not points:
        raise ValueError("a plot needs at least one day")
    last = points[-1]
    level = "not known" if last.level is None else str(last.level)
    told = f"{points[0].label} to {last.label}: {sum(p.sold for p in points)} sold, level {level}"
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{_safe(f"Stock of {name}, {told}")}" '
        'font-family="sans-serif" font-size="12">'
    )
    return "\n".join(
        (
            head,
            f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
            _text(_LEFT, 22, f"Stock of {name}", size=16),
            *_panel("level", _LEVEL, max(1, *(p.level or 0 for p in points))),
            _levels(points),
            *_panel("sold", _SOLD, max(1, *(p.sold for p in points))),
            *_bars(points),
            *_days(points),
            "</svg>",
            "",
        )
    )


def _panel(what: str, place: tuple[int, int], highest: int) -> list[str]:
    """Lines at nought and at the scale's end, with their numbers."""
    top, bottom = place
    return [
        _text(_RIGHT, top - 6, what, anchor="end"),
        *(f'<line x1="{_LEFT}" x2="{_RIGHT}" y1="{y}" y2="{y}" stroke="{_FAINT}"/>' for y in place),
        _text(_LEFT - 8, top + 4, str(highest), anchor="end"),
        _text(_LEFT - 8, bottom + 4, "0", anchor="end"),
    ]


def _levels(points: Sequence[Point]) -> str:
    """A step per day; a level that is not known leaves a gap."""
    highest = max(1, *(p.level or 0 for p in points))
    path, drawn = [], False
    for number, point in enumerate(points):
        if point.level is None:
            drawn = False
            continue
        y = _y(max(point.level, 0), highest, _LEVEL)
        path.append(f"{'L' if drawn else 'M'}{_x(number, points):.1f} {y:.1f}")
        path.append(f"H{_x(number + 1, points):.1f}")
        drawn = True
    return f'<path d="{" ".join(path)}" fill="none" stroke="{_LINE}" stroke-width="2"/>'


def _bars(points: Sequence[Point]) -> list[str]:
    highest = max(1, *(p.sold for p in points))
    width = (_RIGHT - _LEFT) / len(points)
    bars = []
    for number, point in enumerate(points):
        y = _y(max(point.sold, 0), highest, _SOLD)
        bars.append(
            f'<rect x="{_x(number, points) + width * 0.15:.1f}" y="{y:.1f}" '
            f'width="{width * 0.7:.1f}" height="{_SOLD[1] - y:.1f}" fill="{_BAR}">'
            f"<title>{_safe(point.label)}: {point.sold} sold</title></rect>"
        )
    return bars


def _days(points: Sequence[Point]) -> list[str]:
    return [
        _text(_LEFT, _HEIGHT - 12, points[0].label),
        _text(_RIGHT, _HEIGHT - 12, points[-1].label, anchor="end"),
    ]


def _x(number: int, points: Sequence[Point]) -> float:
    return _LEFT + (_RIGHT - _LEFT) * number / len(points)


def _y(value: int, highest: int, place: tuple[int, int]) -> float:
    top, bottom = place
    return bottom - (bottom - top) * value / highest


def _text(x: int, y: int, text: str, *, anchor: str = "start", size: int = 12) -> str:
    return (
        f'<text x="{x}" y="{y}" fill="{_INK}" text-anchor="{anchor}" font-size="{size}">'
        f"{_safe(text)}</text>"
    )


def _safe(text: str) -> str:
    """Without what XML cannot hold."""
    return escape("".join(each for each in text if each.isprintable()))
