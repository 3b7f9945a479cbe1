"""Sheet of test images with their true and predicted boxes."""

import pathlib
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

COLUMNS, ROWS = 6, 4
# Minimum score of boxes that are drawn.
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
        found: Predicted objects.
        labels: Names of the classes.
        file: The image to write.
    """
    rows = min(ROWS, -(-len(images) // COLUMNS))
    figure = Figure((12, 2.05 * rows + 0.4), dpi=130, layout="constrained")
    figure.suptitle(
        f"White: true boxes. Color: predicted boxes, from a score of {SURE}",
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
            _caption(axes, box, f"{labels[int(box[4])]} {box[5]:.2f}", color)
    figure.savefig(file)


def _caption(axes: Axes, box: np.ndarray, text: str, color: str) -> None:
    """Write at the box's upper corner that leaves more room in the image."""
    left, top, right, _ = box[:4]
    width = axes.get_xlim()[1]
    on_the_left = left < width - right
    axes.text(
        max(left, 0) if on_the_left else min(right, width),
        max(top, 0),
        text,
        fontsize=6,
        color="white",
        ha="left" if on_the_left else "right",
        va="bottom" if top > 0.1 * width else "top",
        bbox={"facecolor": color, "edgecolor": "none", "pad": 0.8},
    )


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
