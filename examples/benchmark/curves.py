"""Chart and table of how cost grows."""

import pathlib
import statistics
from collections.abc import Iterable
from collections.abc import Sequence
from dataclasses import asdict
from dataclasses import dataclass
from typing import Any
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLUMNS = 2
INK = "#2b2f36"


class Panel(NamedTuple):
    """Panel of the chart, and table of the page."""

    title: str
    axis: str
    unit: str


class Line(NamedTuple):
    """Line of a panel."""

    label: str
    color: str


PANELS = {
    "predict": Panel("Prediction", "batch size", "images/s"),
    "memory of prediction": Panel(
        "Peak memory of prediction", "batch size", "GB"
    ),
    "train": Panel("Training", "batch size", "images/s"),
    "memory of training": Panel("Peak memory of training", "batch size", "GB"),
    "size": Panel("Prediction, batch 8", "image size, pixels", "megapixels/s"),
    "startup": Panel("From start to first prediction", "model", "s"),
    "cores": Panel("Training, 8 images per process", "", "images/s"),
    "pipeline": Panel("Training pipeline, 224x224", "cores", "images/s"),
}
LINES = {
    "timm": Line("timm, channels_last", "#8a9099"),
    "tensorflow": Line("ours on TensorFlow", "#e07b1a"),
    "jax": Line("ours on JAX", "#2f6db5"),
    "torch": Line("ours on torch", "#c0392b"),
    "folder": Line("folder of JPEG files", "#2f6db5"),
    "tfds": Line("TFDS records", "#e07b1a"),
}


@dataclass(frozen=True)
class Point:
    """Figures of one line at one place.

    Args:
        panel: A key of `PANELS`.
        x: Place on the axis: a number, or a label.
        line: A key of `LINES`.
        samples: Figures in the panel's unit.
    """

    panel: str
    x: int | str
    line: str
    samples: list[float]

    @property
    def median(self) -> float:
        """Median of the figures."""
        return statistics.median(self.samples)

    def record(self) -> dict[str, Any]:
        """Return the JSON values."""
        return asdict(self)


def draw(points: Sequence[Point], file: pathlib.Path) -> None:
    """Draw a panel for each measured quantity.

    Args:
        points: The measured points.
        file: The image to write.
    """
    names = _ordered(PANELS, (point.panel for point in points))
    rows = -(-len(names) // COLUMNS)
    figure = Figure((11, 3.2 * rows), dpi=110, layout="constrained")
    grid = figure.subplots(rows, COLUMNS, squeeze=False).flat
    for axes, name in zip(grid, names, strict=False):
        _panel(axes, name, [each for each in points if each.panel == name])
    for axes in list(grid)[len(names) :]:
        axes.remove()
    figure.savefig(file)


def tables(points: Sequence[Point]) -> str:
    """Return a Markdown table of each panel."""
    parts = []
    for name in _ordered(PANELS, (point.panel for point in points)):
        panel = PANELS[name]
        found = [each for each in points if each.panel == name]
        places = list(dict.fromkeys(each.x for each in found))
        known = {(each.line, each.x): each.median for each in found}
        heading = f"{panel.title}, {panel.unit}"
        parts += [
            f"| {heading} | {' | '.join(map(str, places))} |",
            f"| --- |{' ---: |' * len(places)}",
        ]
        for line in _ordered(LINES, (each.line for each in found)):
            cells = [_number(known.get((line, place))) for place in places]
            parts.append(f"| {LINES[line].label} | {' | '.join(cells)} |")
        parts.append("")
    return "\n".join(parts)


def _panel(axes: Axes, name: str, points: Sequence[Point]) -> None:
    panel = PANELS[name]
    places = list(dict.fromkeys(point.x for point in points))
    lines = _ordered(LINES, (point.line for point in points))
    numbers = all(isinstance(place, int) for place in places)
    for i, line in enumerate(lines):
        label, color = LINES[line]
        mine = [point for point in points if point.line == line]
        at = [places.index(point.x) for point in mine]
        heights = [point.median for point in mine]
        if numbers:
            axes.plot(at, heights, "o-", color=color, label=label)
        else:
            width = 0.8 / len(lines)
            shifted = [x + (i - (len(lines) - 1) / 2) * width for x in at]
            axes.bar(shifted, heights, width, color=color, label=label)
    axes.set_xticks(range(len(places)), [str(place) for place in places])
    axes.set_xlabel(panel.axis)
    highest = max(point.median for point in points)
    axes.set_ylim(0, highest * (1.1 if numbers else 1.5))  # and the legend
    axes.set_title(
        f"{panel.title}, {panel.unit}",
        loc="left",
        fontsize=10,
        fontweight="bold",
        color=INK,
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    axes.legend(fontsize=8, frameon=False)


def _ordered(all_names: Iterable[str], some: Iterable[str]) -> list[str]:
    """Return some names in the order of all."""
    found = set(some)
    return [name for name in all_names if name in found]


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
