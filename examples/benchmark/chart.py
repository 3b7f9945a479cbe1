"""Chart of a benchmark."""

import pathlib
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from examples.benchmark.candidates import CANDIDATES
from examples.benchmark.results import Result

COLUMNS = 2
BLUE, FAINT, INK = "#2f6db5", "#d9dce1", "#2b2f36"
# Inches.
TITLE, BAR = 0.5, 0.24


def draw(results: Sequence[Result], title: str, file: pathlib.Path) -> None:
    """Draw each task's medians and spreads, ours in blue, the best on top.

    Args:
        results: Results; the largest batch of each kind and dtype is drawn.
        title: Title: measurement and machine.
        file: The image to write.
    """
    # Of the largest batch of each kind and dtype.
    largest = {
        (result.kind, result.dtype): result
        for result in sorted(results, key=lambda each: each.batch)
    }
    kinds = [result.kind for result in results]
    shown = sorted(
        (each for each in results if each in largest.values()),
        key=lambda each: kinds.index(each.kind),
    )
    rows = [shown[i : i + COLUMNS] for i in range(0, len(shown), COLUMNS)]
    heights = [
        TITLE + BAR * max(len(result.samples) for result in row) for row in rows
    ]
    figure = Figure((11, sum(heights) + TITLE), dpi=150, layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", color=INK)
    grid = figure.subplots(
        len(rows), COLUMNS, squeeze=False, height_ratios=heights
    )
    for panels, row in zip(grid, rows, strict=True):
        for axes, result in zip(panels, row, strict=False):
            _bars(axes, result)
        for axes in panels[len(row) :]:
            axes.remove()
    figure.savefig(file)


def _bars(axes: Axes, result: Result) -> None:
    medians = result.medians
    names = sorted(
        medians, key=medians.__getitem__, reverse=result.unit != "images/s"
    )
    values = [medians[name] for name in names]
    ends = [result.ends(name) for name in names]
    spread = [
        [value - least for value, (least, _) in zip(values, ends, strict=True)],
        [most - value for value, (_, most) in zip(values, ends, strict=True)],
    ]
    colors = [BLUE if CANDIDATES[name].is_ours else FAINT for name in names]
    axes.barh(
        [CANDIDATES[name].label for name in names],
        values,
        color=colors,
        xerr=spread,
        error_kw={"ecolor": INK, "elinewidth": 0.8},
    )
    for place, (value, (_, most)) in enumerate(zip(values, ends, strict=True)):
        axes.annotate(
            f"{value:.1f}",
            (most, place),
            (4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color=INK,
        )
    axes.set_title(
        f"{result.title}, {result.unit}",
        loc="left",
        fontsize=10,
        fontweight="bold",
        color=INK,
    )
    axes.set_xlim(0, 1.12 * max(most for _, most in ends))
    axes.tick_params(labelsize=8)
    axes.xaxis.set_visible(False)
    axes.spines[:].set_visible(False)
