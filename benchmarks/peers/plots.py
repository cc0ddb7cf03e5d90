"""Plots of results.json as SVG; runs with the peers' packages, where matplotlib is.

`python -m benchmarks.peers.plots results.json FOLDER` prints the names of the files it wrote.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
# The same numbers give the same file: no random ids, no date.
matplotlib.rcParams |= {"svg.hashsalt": "orderflow", "font.size": 9, "svg.fonttype": "none"}
import matplotlib.pyplot as plt  # noqa: E402  # only after the backend is chosen

LOADS = {"even": "1,000 products", "hot": "one product"}


def main() -> None:
    results = json.loads(Path(sys.argv[1]).read_text())
    folder = Path(sys.argv[2])
    rounds = results["rounds"]
    names = [name for name in rounds[0] if name != "limits"]
    for file, draw in (("rates.svg", rates), ("cpu.svg", cpu)):
        figure = draw(rounds, names)
        _save(figure, folder / file)
    if further := results.get("further"):
        _save(growth(further["growth"]), folder / "growth.svg")


def _save(figure: Any, file: Path) -> None:
    figure.savefig(file, metadata={"Date": None}, bbox_inches="tight")
    print(file.name)


def rates(rounds: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Any:
    """Orders per second: the median as a bar, every round as a dot. The scale is logarithmic."""
    figure, axes = plt.subplots(figsize=(7, 3))
    for offset, (load, label) in zip((-0.2, 0.2), LOADS.items(), strict=True):
        for place, name in enumerate(names):
            values = sorted(one[name][load]["orders_per_s"] for one in rounds)
            colour = "tab:blue" if load == "even" else "tab:red"
            median = values[len(values) // 2]
            axes.barh(place + offset, median, 0.36, color=colour, label=None if place else label)
            axes.plot(values, [place + offset] * len(values), "k.", markersize=4)
    axes.set_xscale("log")
    axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    axes.invert_yaxis()
    axes.set_xlabel("orders per second, logarithmic; dots are rounds")
    axes.legend()
    return figure


def cpu(rounds: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Any:
    """CPU time of an order by process, in the last round."""
    figure, axes = plt.subplots(figsize=(7, 3))
    colours: dict[str, Any] = {}
    for place, name in enumerate(names):
        left = 0.0
        for process, used in rounds[-1][name]["even"]["cpu_us_per_order"].items():
            new = process not in colours
            colour = colours.setdefault(process, f"C{len(colours)}")
            label = process if new else None
            axes.barh(place, used / 1000, 0.6, left=left, color=colour, label=label)
            left += used / 1000
    axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    axes.invert_yaxis()
    axes.set_xlabel("CPU ms per order, 1,000 products, last round")
    axes.legend()
    return figure


def growth(found: Mapping[str, Any]) -> Any:
    """Orders per second by how many finished ones there are, and what one leaves on disk."""
    figure, (speed, disk) = plt.subplots(1, 2, figsize=(7, 2.5), width_ratios=(3, 2))
    points = found["points"]
    speed.plot(
        [each["finished"] for each in points], [each["orders_per_s"] for each in points], "o-"
    )
    speed.set_xscale("log")
    speed.set_ylim(bottom=0)
    speed.set_xlabel("finished orders in the tables")
    speed.set_ylabel("orders per second")
    left = {until: sum(places.values()) for until, places in found["bytes_per_order"].items()}
    disk.barh([until.partition(";")[0] for until in left], [size / 1024 for size in left.values()])
    disk.invert_yaxis()
    disk.set_xlabel("KiB per order on disk")
    figure.tight_layout()
    return figure


if __name__ == "__main__":
    main()
