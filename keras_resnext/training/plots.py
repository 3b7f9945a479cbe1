"""Plots of a run: curves, a confusion matrix and predictions."""

import pathlib

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from matplotlib.ticker import PercentFormatter

from keras_resnext import atomic_files

# Blue, orange and red that color-blind people can distinguish.
BLUE, ORANGE, RED = "#2f6db5", "#e08214", "#c8283c"
INK, FAINT = "#2b2f36", "#d9dce1"
BLUES = LinearSegmentedColormap.from_list("blues", ["#ffffff", BLUE, "#16365c"])

COLUMNS, ROWS = 8, 4
MOST_MISTAKES = 16
MOST_NAMED_CLASSES = 40
MOST_COUNTED_CLASSES = 20


def draw_curves(
    history: dict[str, list[float]],
    unfrozen: int,
    path: pathlib.Path,
    measure: tuple[str, str] = ("accuracy", "Accuracy"),
) -> None:
    """Plot loss and accuracy by epoch.

    Args:
        history: Columns of the history, one number per epoch.
        unfrozen: Number of epochs before all layers were trained, 0 if they
            were from the start.
        path: Image file to write.
        measure: Key in the history and title of the accuracy or another
            measure.
    """
    figure = Figure((9.6, 3.9), dpi=150, layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes, key, title in (
        (left, "loss", "Loss"),
        (right, *measure),
    ):
        epochs = np.arange(1, len(history["loss"]) + 1)
        marker = "o" if len(epochs) < 3 else None
        for name, color, label in (
            (key, BLUE, "training"),
            (f"val_{key}", ORANGE, "validation"),
        ):
            # Some measures exist for training or validation images only.
            if name not in history:
                continue
            axes.plot(
                epochs, history[name], color=color, label=label, marker=marker
            )
        if unfrozen:
            _mark_phases(axes, unfrozen + 0.5)
        axes.set_title(
            title,
            loc="left",
            color=INK,
            fontweight="bold",
            pad=18 if unfrozen else None,
        )
        axes.set_xlabel("epoch", color=INK)
        axes.set_xlim(0.5, len(epochs) + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(color=FAINT, lw=0.7)
        bare(axes, keep=("left", "bottom"))
    left.set_ylim(0, 1.04 * left.get_ylim()[1])
    right.yaxis.set_major_formatter(PercentFormatter(1))
    right.set_ylim(top=1 + 0.02 * np.ptp(right.get_ylim()))
    for axes in (left, right):
        axes.legend(frameon=False)
    save(figure, path)


def _mark_phases(axes: Axes, epoch: float) -> None:
    """Mark the epoch from which all layers train."""
    axes.axvline(epoch, color=INK, ls=":", lw=1)
    for text, side in (
        ("classifier trains ", "right"),
        (" all layers train", "left"),
    ):
        axes.annotate(
            text,
            (epoch, 1.01),
            xycoords=("data", "axes fraction"),
            ha=side,
            fontsize=8,
            color=INK,
        )


def draw_confusion(
    true: np.ndarray,
    predicted: np.ndarray,
    labels: list[str],
    path: pathlib.Path,
) -> None:
    """Plot the confusion matrix."""
    classes = len(labels)
    counts = np.zeros((classes, classes), int)
    np.add.at(counts, (true, predicted), 1)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)

    side = float(np.clip(2.6 + 0.42 * classes, 4.6, 12))
    figure = Figure((side, side), dpi=150, layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap=BLUES, vmin=0, vmax=1)
    if classes <= MOST_COUNTED_CLASSES:
        for row, column in zip(*np.nonzero(counts), strict=True):
            wrong, dark = row != column, shares[row, column] > 0.5
            axes.text(
                column,
                row,
                str(counts[row, column]),
                ha="center",
                va="center",
                fontsize=9,
                color="white" if dark else RED if wrong else INK,
                fontweight="bold" if wrong else "normal",
            )
    if classes <= MOST_NAMED_CLASSES:
        upright = max(map(len, labels)) > 2
        axes.set_xticks(range(classes), labels, rotation=90 if upright else 0)
        axes.set_yticks(range(classes), labels)
        edges = np.arange(classes + 1) - 0.5
        axes.set_xticks(edges, minor=True)
        axes.set_yticks(edges, minor=True)
        axes.grid(which="minor", color=FAINT, lw=0.7)
    axes.set_xlabel("predicted", color=INK)
    axes.set_ylabel("true", color=INK)
    right = int(np.trace(counts))
    axes.set_title(
        f"{right:,} of {len(true):,} images right",
        loc="left",
        color=INK,
        fontweight="bold",
    )
    bare(axes)
    axes.tick_params(which="both", length=0)
    save(figure, path)


def choose(true: np.ndarray, probabilities: np.ndarray) -> list[int]:
    """Choose images to show: the most confident mistakes, then others."""
    predicted = probabilities.argmax(-1)
    by_sureness = np.argsort(-probabilities.max(-1), kind="stable")
    mistakes = [i for i in by_sureness if predicted[i] != true[i]]
    right = np.flatnonzero(predicted == true)
    right = np.random.default_rng(0).permutation(right)
    chosen = mistakes[:MOST_MISTAKES]
    return [*chosen, *right[: COLUMNS * ROWS - len(chosen)]]


def draw_predictions(
    images: list[np.ndarray],
    true: np.ndarray,
    probabilities: np.ndarray,
    labels: list[str],
    path: pathlib.Path,
) -> None:
    """Plot a grid of images, each with its class and probability.

    Args:
        images: Pixels in [0, 1].
        true: Index of the class of each image.
        probabilities: Probabilities of the classes, for each image.
        labels: Names of the classes.
        path: Image file to write.
    """
    rows = -(-len(images) // COLUMNS)
    figure = Figure(
        (1.5 * COLUMNS, 1.95 * rows + 0.35), dpi=130, layout="constrained"
    )
    figure.set_layout_engine("constrained", w_pad=0.07)
    grid = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    for axes in grid:
        axes.set_axis_off()
    for axes, pixels, truth, row in zip(
        grid, images, true, probabilities, strict=False
    ):
        best = int(row.argmax())
        wrong = best != truth
        axes.set_axis_on()
        axes.imshow(pixels.squeeze(), cmap="gray", vmin=0, vmax=1)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set(color=RED if wrong else FAINT, lw=3 if wrong else 1)
        title = f"{_short(labels[best])}  {row[best]:.0%}"
        if wrong:
            title += f"\ntrue: {_short(labels[truth])}"
        axes.set_title(
            title,
            fontsize=10,
            color=RED if wrong else INK,
            fontweight="bold" if wrong else "normal",
        )
    figure.suptitle(
        "Predicted class and its probability; mistakes first, in red",
        x=0.01,
        ha="left",
        color=INK,
        fontweight="bold",
    )
    save(figure, path)


def save(figure: Figure, path: pathlib.Path) -> None:
    """Write a figure, in the format of the path's suffix."""
    with atomic_files.replacing(path) as part:
        figure.savefig(part)


def bare(axes: Axes, keep: tuple[str, ...] = ()) -> None:
    """Remove the frame, except for some sides."""
    for side, spine in axes.spines.items():
        spine.set(visible=side in keep, color=INK)
    axes.tick_params(colors=INK)


def _short(label: str) -> str:
    return label if len(label) <= 14 else f"{label[:13]}…"
