"""Names what is on pictures, with a ResNeXt trained on ImageNet.

    python examples/predict.py cat.jpg dog.png
    python examples/predict.py --model resnext101_32x8d --top 3 cat.jpg
    python examples/predict.py --weights path/to/model.safetensors cat.jpg

Without pictures it takes scikit-learn's two: a Chinese temple and a flower.
The weights are downloaded once; the path of a file needs no network.
"""

import argparse
import pathlib
import sys

# Ahead of all that imports TensorFlow.
import startup  # noqa: F401  (importing it is its use)

# isort: split
import keras
import numpy as np
import PIL.Image
import PIL.ImageOps
import rich.box
import rich.console
import rich.table

import keras_resnext


def main() -> int:
    """Runs the script; the result is its exit status."""
    parser = argument_parser()
    args = parser.parse_args()
    try:
        paths = args.pictures or samples()
        images = [read(path) for path in paths]
        # Of any size, since weights are at their best at one of their own.
        model = keras_resnext.get_model(
            args.model, weights=args.weights, input_shape=(None, None, 3)
        )
    except keras_resnext.WeightsUnavailableError as error:
        print(f"{parser.prog}: error: {error}", file=sys.stderr)
        return 1
    except (ValueError, OSError) as error:
        parser.error(str(error))
    transform = transform_for(model, args.model)
    console = rich.console.Console()
    for path, image in zip(paths, images, strict=True):
        console.print(table(path, model, transform(image), args.top))
    return 0


def argument_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        usage="%(prog)s [options] [PICTURE ...]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "pictures",
        nargs="*",
        metavar="PICTURE",
        type=pathlib.Path,
        help="picture files of any kind that Pillow reads "
        "(default: scikit-learn's samples)",
    )
    parser.add_argument(
        "--model",
        default="resnext50_32x4d",
        help="a name of keras_resnext.list_models() (default: %(default)s)",
    )
    parser.add_argument(
        "--weights",
        default="imagenet",
        help="imagenet, a tag of keras_resnext.list_weights(), or the path "
        "of a checkpoint (default: %(default)s)",
    )
    parser.add_argument(
        "--top",
        type=int,
        choices=range(1, 1001),
        metavar="N",
        default=5,
        help="how many classes to print for each picture, 1 to 1000 "
        "(default: %(default)s)",
    )
    return parser


def samples() -> list[pathlib.Path]:
    """The two photographs that come with scikit-learn."""
    try:
        from sklearn import datasets
    except ImportError:
        raise ValueError(
            "Name a picture; the two samples are in scikit-learn, "
            "which is not installed."
        ) from None

    folder = pathlib.Path(datasets.__file__).parent / "images"
    return [folder / "china.jpg", folder / "flower.jpg"]


def read(path: pathlib.Path) -> PIL.Image.Image:
    """Opens a picture, turned upright as its camera says."""
    try:
        return PIL.ImageOps.exif_transpose(PIL.Image.open(path)).convert("RGB")
    except PIL.UnidentifiedImageError:
        raise ValueError(f"'{path}' is not a picture.") from None
    except FileNotFoundError:
        raise ValueError(f"There is no file '{path}'.") from None
    except OSError as error:
        raise ValueError(f"Can't read '{path}': {error}") from None


def transform_for(
    model: keras.Model, name: str
) -> keras_resnext.EvaluationTransform:
    """The one that the weights' accuracy was measured with."""
    if model.weights_info is not None:
        return keras_resnext.evaluation_transform(model.weights_info)
    size = keras_resnext.VARIANTS[name.partition(".")[0]].default_size
    return keras_resnext.EvaluationTransform(round(size / 0.875), size)


def table(
    path: pathlib.Path, model: keras.Model, pixels: np.ndarray, top: int
) -> rich.table.Table:
    """The most probable classes of one picture."""
    probabilities = model.predict(pixels[None], verbose=0)
    (best,) = keras_resnext.decode_predictions(probabilities, top=top)
    rows = rich.table.Table(
        title=path.name,
        title_justify="left",
        title_style="bold",
        box=rich.box.SIMPLE_HEAD,
    )
    rows.add_column("class", min_width=24)
    rows.add_column("probability", justify="right")
    for _, name, probability in best:
        rows.add_row(name.replace("_", " "), f"{probability:.1%}")
    return rows


if __name__ == "__main__":
    sys.exit(main())
