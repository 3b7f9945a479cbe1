"""The command `predict`: what is on pictures, and where."""

import argparse
import math
import os
import pathlib
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Sequence

import numpy as np
import PIL.Image
import rich.console
import rich.progress

import keras_resnext
from keras_resnext.cli import Failure
from keras_resnext.cli import complain
from keras_resnext.cli import networks
from keras_resnext.cli import pictures
from keras_resnext.cli import printing

BATCH = 64
# How wide a picture of `--gradcam` is.
WIDTH = 320
ENDINGS = (".png", ".jpg", ".jpeg")


def run(args: argparse.Namespace) -> int:
    """Prints the most probable classes of pictures."""
    for path in args.pictures:
        pictures.check(path)
    if args.gradcam and args.gradcam.suffix.lower() not in ENDINGS:
        raise ValueError(f"'{args.gradcam}' must end in .png or .jpg.")
    if args.gradcam and not args.gradcam.parent.is_dir():
        raise ValueError(f"There is no folder '{args.gradcam.parent}'.")
    model = networks.load(args.model, args.weights)
    classes = model.output_shape[-1]
    if (args.top or 1) > classes:
        raise ValueError(
            f"--top {args.top} is more than the network's {classes} classes."
        )
    top = args.top or min(5, classes)
    transform = networks.transform_for(model)
    names = keras_resnext.get_data_config(model).labels
    found: list[dict] = []
    sights: list[PIL.Image.Image] = []
    for paths, pixels in batches(args.pictures, transform):
        if networks.channels_first():
            pixels = pixels.transpose(0, 3, 1, 2)
        predicted = model.predict_on_batch(pixels)
        found += [
            {"picture": os.fspath(path), "classes": classes}
            for path, classes in zip(
                paths, best(np.asarray(predicted), top, names), strict=True
            )
        ]
        if args.gradcam:
            heat = keras_resnext.explain.grad_cam(model, pixels)
            sights += sight(paths, transform, heat)
    if args.json:
        printing.print_json(found)
    else:
        printing.show(*map(table, found))
    if sights:
        _save(side_by_side(sights), args.gradcam)
    return 0 if len(found) == len(args.pictures) else 1


def batches(
    paths: list[pathlib.Path], transform: keras_resnext.EvaluationTransform
) -> Iterator[tuple[list[pathlib.Path], np.ndarray]]:
    """Pictures as pixels, many at a time; complains of the damaged ones."""
    good: list[pathlib.Path] = []
    pixels: list[np.ndarray] = []
    for path in _progress(paths):
        try:
            pixels.append(transform(pictures.read(path)))
            good.append(path)
        except ValueError as error:
            complain(error)
        if len(good) == BATCH:
            yield good, np.stack(pixels)
            good, pixels = [], []
    if good:
        yield good, np.stack(pixels)


def best(
    predicted: np.ndarray, top: int, names: Sequence[str] | None
) -> list[list[dict]]:
    """The most probable classes of each picture."""
    if predicted.shape[-1] == 1000:
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


def table(found: dict) -> rich.table.Table:
    """The most probable classes of one picture."""
    rows = printing.table(
        "class", "probability>", title=pathlib.Path(found["picture"]).name
    )
    rows.columns[0].min_width = 24
    for each in found["classes"]:
        rows.add_row(each["name"], f"{each['probability']:.1%}")
    return rows


def sight(
    paths: Iterable[pathlib.Path],
    transform: keras_resnext.EvaluationTransform,
    heatmaps: np.ndarray,
) -> Iterator[PIL.Image.Image]:
    """What the network saw of pictures, and where it looked."""
    for path, heatmap in zip(paths, heatmaps, strict=True):
        picture = PIL.Image.fromarray(transform.pixels(pictures.read(path)))
        picture = picture.resize((WIDTH, WIDTH))
        yield keras_resnext.explain.overlay(picture, heatmap)


def side_by_side(sights: list[PIL.Image.Image]) -> PIL.Image.Image:
    """One picture of all, in as many columns as rows."""
    columns = math.ceil(math.sqrt(len(sights)))
    rows = math.ceil(len(sights) / columns)
    sheet = PIL.Image.new("RGB", (columns * WIDTH, rows * WIDTH), "white")
    for i, picture in enumerate(sights):
        sheet.paste(picture, (i % columns * WIDTH, i // columns * WIDTH))
    return sheet


def _save(picture: PIL.Image.Image, path: pathlib.Path) -> None:
    try:
        picture.save(path)
    except OSError as error:
        raise Failure(f"Can't write '{path}': {error.strerror}") from error


def _progress(paths: list[pathlib.Path]) -> Iterable[pathlib.Path]:
    """Draws a bar on a terminal while there is more than one."""
    console = rich.console.Console(stderr=True)
    hidden = not console.is_terminal or len(paths) == 1
    return rich.progress.track(
        paths, "Predicting", console=console, disable=hidden, transient=True
    )
