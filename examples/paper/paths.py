"""Plot the contribution of each path of each block to the scores of images.

    python -m examples.paper.paths *.jpg
    python -m examples.paper.paths --model resnext23s_4x32d.cifar10 *.png

Each path is removed in turn; the change of the predicted class's score is its
contribution: an exact ablation. The figure shows the means over all images, in
the unit of scores before the softmax.
"""

import argparse
import pathlib
import sys

import keras
import numpy as np
import PIL.Image
import rich.console
import rich.progress
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure

import keras_resnext
from keras_resnext.cli import scripts

MODEL = "resnext50_32x4d"


def main() -> int:
    """Run the script, and return its exit status."""
    parser = argparse.ArgumentParser(
        usage="%(prog)s IMAGE... [options]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "images",
        nargs="+",
        type=pathlib.Path,
        metavar="IMAGE",
        help="image files that Pillow reads",
    )
    parser.add_argument(
        "--model", default=MODEL, help=f"NAME or NAME.TAG (default: {MODEL})"
    )
    parser.add_argument(
        "--weights", help="imagenet, a tag, or the path of a checkpoint"
    )
    parser.add_argument(
        "--output",
        type=pathlib.Path,
        default=pathlib.Path("paths.png"),
        metavar="FILE",
        help="file of the figure (default: %(default)s)",
    )
    return scripts.main(parser, work)


def work(args: argparse.Namespace) -> int:
    """Measure, and draw."""
    model = scripts.load_model(args.model, args.weights)
    transform = scripts.transform_for(model)
    pixels = []
    for file in args.images:
        with PIL.Image.open(file) as image:
            pixels.append(transform(image))
    found = contributions(model, np.stack(pixels))
    title = f"{model.name}, mean of {len(pixels):,} images"
    draw(found, title, args.output)
    print(f"Written to {args.output}")
    return 0


def contributions(
    model: keras.Model, images: np.ndarray
) -> dict[str, np.ndarray]:
    """Return the mean contribution of each path of each block.

    Args:
        model: A classifier of this package.
        images: Its input.

    Returns:
        One number for each path, by the block's name.
    """
    outputs = keras_resnext.block_outputs(model).output
    blocks = [name for name in outputs if name != "stem"]
    console = rich.console.Console(stderr=True)
    return {
        block: keras_resnext.explain.group_ablation(model, images, block).mean(
            0
        )
        for block in rich.progress.track(
            blocks, "Removing paths", console=console, transient=True
        )
    }


def draw(found: dict[str, np.ndarray], title: str, file: pathlib.Path) -> None:
    """Draw a row per block, its paths from the most to the least useful."""
    paths = max(len(row) for row in found.values())
    rows = np.full((len(found), paths), np.nan)
    for row, values in zip(rows, found.values(), strict=True):
        row[: len(values)] = np.sort(values)[::-1]
    size = (4 + 0.22 * paths, 1.6 + 0.24 * len(found))
    figure = Figure(size, dpi=150, layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    axes = figure.subplots()
    top = float(np.nanmax(np.abs(rows))) or 1.0
    image = axes.imshow(
        rows, cmap="RdBu", norm=TwoSlopeNorm(0, -top, top), aspect="auto"
    )
    axes.set_yticks(range(len(found)), list(found))
    axes.set_xlabel("paths of a block, the most helpful first")
    axes.set_xticks([])
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axes)
    bar.set_label("added to the score of the class")
    bar.outline.set_visible(False)
    figure.savefig(file)


if __name__ == "__main__":
    sys.exit(main())
