"""The command `predict`: classes of images, and their Grad-CAM heat maps.

Results are printed as they are computed. An unreadable image does not stop the
others: it is reported on standard error, skipped and counted.
"""

import argparse
import math
import os
import pathlib
import sys
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence

import keras
import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
import rich.console
import rich.progress

import keras_resnext
from keras_resnext import imagenet
from keras_resnext.cli import Failure
from keras_resnext.cli import UsageError
from keras_resnext.cli import complain
from keras_resnext.cli import image_files
from keras_resnext.cli import loading
from keras_resnext.cli import note
from keras_resnext.cli import printing
from keras_resnext.data.evaluation import Classifier
from keras_resnext.data.evaluation import normalized

BATCH = 64
# The sheet of `--gradcam`, in pixels: side of an image, height of its caption,
# size of letters; and the number of images that fit.
SIDE, CAPTION, LETTERS = 320, 32, 18
MAX_DRAWN = 100
ENDINGS = (".png", ".jpg", ".jpeg")


class Skipped:
    """Counter of images without a prediction, which reports each at once."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, error: Exception) -> None:
        """Report and count an image."""
        self.count += 1
        complain(error)


def run(args: argparse.Namespace) -> int:
    """Print the most probable classes of images."""
    if args.gradcam and args.gradcam.suffix.lower() not in ENDINGS:
        raise UsageError(f"'{args.gradcam}' must end in .png or .jpg.")
    if args.gradcam and not args.gradcam.parent.is_dir():
        raise Failure(f"There is no folder '{args.gradcam.parent}'.")
    skipped = Skipped()
    files = expand(args.images, skipped)
    total = len(files) + skipped.count
    if readable := from_first_readable(files, skipped):
        predict(args, readable, skipped)
    elif args.json:
        printing.print_json([])
    if skipped.count and total > 1:
        complain(f"Skipped {skipped.count:,} of {total:,} images.")
    return 1 if skipped.count else 0


def predict(
    args: argparse.Namespace, paths: list[pathlib.Path], skipped: Skipped
) -> None:
    """Print the predictions for images."""
    model = None
    if loading.is_exported(args.model or ""):
        if args.weights or args.gradcam:
            raise UsageError(
                f"'{args.model}' is an exported file, which takes neither "
                "--weights nor --gradcam."
            )
        with loading.reading(args.model):
            classifier = loading.exported(args.model)
    else:
        model = loading.load(args.model, args.weights)
        classifier = Classifier.of_model(model, loading.transform_for(model))
    classes = classifier.classes
    if (args.top or 1) > classes:
        raise UsageError(
            f"--top {args.top} is more than the model's {classes} classes."
        )
    names = classifier.labels
    if args.labels:
        names = tuple(loading.read_labels(args.labels))
        if len(names) != classes:
            raise Failure(
                f"'{args.labels}' has {len(names):,} lines. It must name the "
                f"{classes:,} classes of the model, one on each line."
            )
    if args.gradcam and len(paths) > MAX_DRAWN:
        note(f"--gradcam draws the first {MAX_DRAWN} of {len(paths):,} images.")
    sights: list[PIL.Image.Image] = []
    with progress(hidden=len(paths) == 1) as bar:
        tracked = bar.track(paths, description="Predicting")
        results = predictions(
            batches(tracked, classifier.transform, skipped),
            classifier,
            args.top or min(5, classes),
            names,
            skipped,
            model if args.gradcam else None,
            sights,
        )
        if args.json:
            printing.print_json_list(results)
        else:
            for result in results:
                show(result)
    if sights:
        try:
            side_by_side(sights).save(args.gradcam)
        except OSError as error:
            reason = error.strerror
            raise Failure(f"Can't write '{args.gradcam}': {reason}") from error


def expand(paths: list[pathlib.Path], skipped: Skipped) -> list[pathlib.Path]:
    """Replace folders with the images in them."""
    files: list[pathlib.Path] = []
    for path in paths:
        if not path.is_dir():
            files.append(path)
            continue
        before = skipped.count
        found = list(image_files.find(path, skipped))
        if found:
            note(f"{len(found):,} images in '{path}'.")
        elif skipped.count == before:
            skipped(Failure(f"The folder '{path}' has no images."))
        files += found
    return files


def from_first_readable(
    paths: list[pathlib.Path], skipped: Skipped
) -> list[pathlib.Path]:
    """Drop images up to the first that can be opened.

    A wrong path is thus reported before weights are downloaded.
    """
    for i, path in enumerate(paths):
        try:
            image_files.check(path)
        except image_files.ImageError as error:
            skipped(error)
        else:
            return paths[i:]
    return []


def batches(
    paths: Iterable[pathlib.Path],
    transform: keras_resnext.EvaluationTransform,
    skipped: Skipped,
) -> Iterator[tuple[list[pathlib.Path], np.ndarray]]:
    """Read images as batches of uint8 pixels; skip damaged ones."""
    good: list[pathlib.Path] = []
    pixels: list[np.ndarray] = []
    for path in paths:
        try:
            pixels.append(transform.pixels(image_files.read(path)))
        # Out of memory, and whatever else one image may cause.
        except Exception as error:
            skipped(image_files.unreadable(path, error))
            continue
        good.append(path)
        if len(good) == BATCH:
            yield good, np.stack(pixels)
            good, pixels = [], []
    if good:
        yield good, np.stack(pixels)


def predictions(
    read: Iterable[tuple[list[pathlib.Path], np.ndarray]],
    classifier: Classifier,
    top: int,
    names: Sequence[str] | None,
    skipped: Skipped,
    explained: keras.Model | None,
    sights: list[PIL.Image.Image],
) -> Iterator[dict]:
    """Predict batches of images.

    Args:
        read: Paths and pixels of images.
        classifier: The classifier.
        top: Number of classes for each image.
        names: Names of the classes, if known.
        skipped: Called for each image whose prediction is not finite.
        explained: Model to compute Grad-CAM heat maps of, or `None`.
        sights: A list that receives a drawing of each image and heat map.

    Yields:
        The path of each image and its most probable classes, `None` if the
        model's output is not finite.
    """
    for paths, pixels in read:
        predicted = classifier.predict(pixels)
        finite = np.isfinite(predicted).all(-1)
        decoded = best(predicted[finite], top, names)
        found = iter(decoded)
        for path, is_finite in zip(paths, finite, strict=True):
            result = {"image": os.fspath(path), "classes": None}
            if is_finite:
                yield result | {"classes": next(found)}
            else:
                error = "The model's output is NaN or infinite."
                skipped(Failure(f"Can't classify '{path}': {error}"))
                yield result | {"error": error}
        if explained is not None and finite.any():
            chosen = np.flatnonzero(finite)[: MAX_DRAWN - len(sights)]
            if len(chosen):
                x = normalized(classifier.transform, pixels[chosen])
                heat = keras_resnext.explain.grad_cam(explained, x)
                sights += map(sight, pixels[chosen], heat, decoded)


def best(
    predicted: np.ndarray, top: int, names: Sequence[str] | None
) -> list[list[dict]]:
    """Return the most probable classes of each image."""
    imagenet_names = [each.name for each in imagenet.classes()]
    if names is not None and list(names) == imagenet_names:
        decoded = keras_resnext.decode_predictions(predicted, top)
        return [
            [
                {
                    "name": name.replace("_", " "),
                    "wnid": wnid,
                    "probability": float(probability),
                }
                for wnid, name, probability in each
            ]
            for each in decoded
        ]
    order = np.argsort(-predicted, -1, kind="stable")[:, :top]
    return [
        [
            {
                "name": names[i] if names else f"class {i}",
                "probability": float(probabilities[i]),
            }
            for i in indices
        ]
        for indices, probabilities in zip(order, predicted, strict=True)
    ]


def show(result: dict) -> None:
    """Print the most probable classes of one image."""
    if not result["classes"]:
        return
    print(printing.printable(result["image"]))
    rows = printing.table("class", "probability>")
    rows.columns[0].min_width = 24
    for each in result["classes"]:
        name = printing.printable(each["name"])
        rows.add_row(name, f"{each['probability']:.1%}")
    printing.show(rows)
    sys.stdout.flush()


def sight(
    pixels: np.ndarray, heatmap: np.ndarray, classes: list[dict]
) -> PIL.Image.Image:
    """Draw an image and its heat map, above its most probable class."""
    gray_or_rgb = pixels[..., 0] if pixels.shape[-1] == 1 else pixels
    image = PIL.Image.fromarray(gray_or_rgb).convert("RGB")
    image = image.resize((SIDE, SIDE))
    tile = PIL.Image.new("RGB", (2 * SIDE, SIDE + CAPTION), "white")
    tile.paste(image, (0, 0))
    tile.paste(keras_resnext.explain.overlay(image, heatmap), (SIDE, 0))
    best = classes[0]
    PIL.ImageDraw.Draw(tile).text(
        (LETTERS // 2, SIDE + CAPTION // 2),
        printing.printable(f"{best['name']}  {best['probability']:.0%}"),
        fill="black",
        font=PIL.ImageFont.load_default(LETTERS),
        anchor="lm",
    )
    return tile


def side_by_side(sights: list[PIL.Image.Image]) -> PIL.Image.Image:
    """Arrange drawings on one image, about as wide as it is high."""
    width, height = sights[0].size
    columns = max(1, round(math.sqrt(len(sights) * height / width)))
    rows = math.ceil(len(sights) / columns)
    sheet = PIL.Image.new("RGB", (columns * width, rows * height), "white")
    for i, tile in enumerate(sights):
        sheet.paste(tile, (i % columns * width, i // columns * height))
    return sheet


def progress(hidden: bool) -> rich.progress.Progress:
    """Return a progress bar below the output, hidden if requested."""
    is_seen = sys.stdout.isatty()
    console = rich.console.Console(stderr=not is_seen)
    return rich.progress.Progress(
        console=console,
        transient=True,
        disable=hidden or not console.is_terminal,
        # Output to a file or a pipe must not end up on the terminal.
        redirect_stdout=is_seen,
        redirect_stderr=sys.stderr.isatty(),
    )
