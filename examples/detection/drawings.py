"""A sheet of held-out images with the true boxes and the found ones."""

import pathlib
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

COLUMNS, ROWS = 6, 4
# What is less sure is not drawn.
SURE = 0.5


def draw(
    images: Sequence[np.ndarray],
    true: Sequence[np.ndarray],
    found: Sequence[np.ndarray],
    labels: Sequence[str],
    file: pathlib.Path,
) -> None:
    """Draw the first images.

    Args:
        images: Pixels in [0, 1].
        true: Objects of each image, as `metrics.measure` takes them.
        found: Found objects.
        labels: Names of the classes.
        file: The image to write.
    """
    rows = min(ROWS, -(-len(images) // COLUMNS))
    figure = Figure((12, 2.05 * rows + 0.4), dpi=130, layout="constrained")
    figure.suptitle(
        f"White: true boxes. In color: those found, from a score of {SURE}",
        x=0.01,
        ha="left",
        fontweight="bold",
    )
    grid = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
    for axes in grid:
        axes.set_axis_off()
    for axes, pixels, truth, guess in zip(
        grid, images, true, found, strict=False
    ):
        axes.imshow(pixels)
        for box in truth:
            _box(axes, box, "white", 2.4)
        for box in guess[guess[:, 5] >= SURE]:
            color = f"C{int(box[4]) % 10}"
            _box(axes, box, color, 1.0)
            axes.text(
                *np.maximum(box[:2], 3),
                f"{labels[int(box[4])]} {box[5]:.2f}",
                fontsize=6,
                color="white",
                va="bottom",
                clip_on=True,
                bbox={"facecolor": color, "edgecolor": "none", "pad": 0.8},
            )
    figure.savefig(file)


def _box(axes: Axes, box: np.ndarray, color: str, width: float) -> None:
    left, top, right, bottom = box[:4]
    # Pixels are drawn around their numbers.
    axes.add_patch(
        Rectangle(
            (left - 0.5, top - 0.5),
            right - left,
            bottom - top,
            fill=False,
            color=color,
            lw=width,
        )
    )
