"""The figure of examples/paper/cardinality.py, after the paper's Figure 5."""

import pathlib
import statistics
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from matplotlib.ticker import PercentFormatter

from examples.paper.results import Result
from examples.paper.results import spread

BLUE, ORANGE, RED = "#2f6db5", "#e08214", "#c8283c"
INK, FAINT = "#2b2f36", "#d9dce1"
COLORS = {
    "equal": BLUE,
    "deeper": ORANGE,
    "wider": RED,
    "more paths": "#16365c",
}
MARKERS = {"equal": "o", "deeper": "v", "wider": "s", "more paths": "D"}
# Octaves to the side, so that no bar hides another.
ASIDE = {"equal": 0, "deeper": 0.3, "wider": 0.6, "more paths": 0.3}


def draw(results: Sequence[Result], title: str, file: pathlib.Path) -> None:
    """Draw training curves, and the error against cardinality.

    Args:
        results: Results of all models.
        title: Title: dataset, models and epochs.
        file: The image to write.
    """
    figure = Figure((11, 5.1), dpi=150, layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", color=INK)
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.1))
    equal = [each for each in results if each.candidate.group == "equal"]
    _curves(left, [equal[0], equal[-1]])
    _errors(right, results)
    for axes, heading in (
        (left, "Error by epoch, mean and range of seeds"),
        (right, "Test error at the end, mean and standard deviation"),
    ):
        axes.set_title(
            heading, loc="left", color=INK, fontweight="bold", fontsize=10
        )
        # Below, where it hides nothing.
        axes.legend(
            frameon=False,
            fontsize=9,
            loc="upper center",
            bbox_to_anchor=(0.5, -0.14),
            ncols=2,
        )
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
        axes.grid(color=FAINT, lw=0.7)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file)


def _curves(axes: Axes, results: Sequence[Result]) -> None:
    for each, color in zip(results, (ORANGE, BLUE), strict=True):
        for key, style, what in (
            ("accuracy", "--", "training"),
            ("val_accuracy", "-", "test"),
        ):
            curves = 1 - np.array(
                [[row[key] for row in history] for history in each.histories]
            )
            epochs = np.arange(1, curves.shape[1] + 1)
            axes.plot(
                epochs,
                curves.mean(0),
                style,
                color=color,
                label=f"{each.candidate.label}, {what}",
            )
            axes.fill_between(
                epochs,
                curves.min(0),
                curves.max(0),
                color=color,
                alpha=0.15,
                lw=0,
            )
    axes.set_xlabel("epoch", color=INK)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def _errors(axes: Axes, results: Sequence[Result]) -> None:
    for group, color in COLORS.items():
        members = [each for each in results if each.candidate.group == group]
        many = "same complexity" if group == "equal" else f"twice, {group}"
        places = [
            each.candidate.cardinality * 2 ** ASIDE[group] for each in members
        ]
        means = [statistics.mean(each.errors) for each in members]
        spreads = [spread(each.errors) for each in members]
        axes.errorbar(
            places,
            means,
            yerr=spreads,
            color=color,
            marker=MARKERS[group],
            ls="-" if group == "equal" else "",
            capsize=3,
            label=many,
        )
        tops = np.add(means, spreads)
        for each, place, top in zip(members, places, tops, strict=True):
            axes.annotate(
                each.candidate.name,
                (place, top),
                xytext=(0, 5),
                textcoords="offset points",
                ha="center",
                rotation="vertical",
                fontsize=8,
                color=color,
            )
    axes.set_xscale("log", base=2)
    ticks = sorted({each.candidate.cardinality for each in results})
    axes.set_xticks(ticks, list(map(str, ticks)))
    axes.margins(x=0.08, y=0.18)
    axes.set_xlabel("cardinality", color=INK)
