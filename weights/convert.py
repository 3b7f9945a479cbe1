"""Converts weights between PyTorch's files and those of Keras.

    python weights/convert.py resnext50_32x4d.a1_in1k a1.weights.h5
    python weights/convert.py flowers.pth flowers.keras
    python weights/convert.py flowers.keras flowers.safetensors
    python weights/convert.py --model resnext50_32x4d old.weights.h5 new.keras

SOURCE is a published checkpoint by its name, which is downloaded once, or a
file: of timm or torchvision (.safetensors, .pth), of the old
keras-applications (.h5), or Keras' own (.weights.h5, .keras). The ending of
OUTPUT says what to write: .weights.h5 or .keras, or .safetensors for timm.

What was written is loaded again before it gets its name: all of its weights
are the source's, bit for bit, or there is no OUTPUT.
"""

import argparse
import os
import pathlib
import signal
import sys
import tempfile
from collections.abc import Callable

# The one of examples/, ahead of all that imports TensorFlow.
sys.path.append(str(pathlib.Path(__file__).parents[1] / "examples"))
import startup  # noqa: F401  (importing it is its use)

# isort: split
import keras
import numpy as np
import rich.console
import rich.markup
import sources

import keras_resnext

WRITERS: dict[str, Callable] = {
    ".weights.h5": keras.Model.save_weights,
    ".keras": keras.Model.save,
    ".safetensors": keras_resnext.save_torch_checkpoint,
}


def main() -> int:
    """Runs the script; the result is its exit status."""
    parser = argument_parser()
    args = parser.parse_args()
    # As for Ctrl-C: what was begun is removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        writer = check(args)
        print(convert(args.source, args.model, writer, args.output))
    except keras_resnext.WeightsUnavailableError as error:
        print(f"{parser.prog}: error: {error}", file=sys.stderr)
        return 1
    except (ValueError, OSError) as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        print("Stopped; nothing was written.", file=sys.stderr)
        return 128 + signal.SIGINT
    return 0


def argument_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        usage="%(prog)s [options] SOURCE OUTPUT",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "source",
        metavar="SOURCE",
        help="a name of keras_resnext.list_weights(), or a file",
    )
    add(
        "output",
        metavar="OUTPUT",
        type=pathlib.Path,
        help="the file to write, ending in .weights.h5, .keras or .safetensors",
    )
    add(
        "--model",
        metavar="NAME",
        help="the file's network, a name of keras_resnext.list_models(), "
        "where the file does not tell: .weights.h5 never does",
    )
    add("--force", action="store_true", help="replace OUTPUT if there is one")
    return parser


def check(args: argparse.Namespace) -> Callable:
    """How to write the output; refuses what can be refused right away."""
    output = args.output
    writers = [
        writer for end, writer in WRITERS.items() if output.name.endswith(end)
    ]
    if not writers:
        *endings, last = WRITERS
        raise ValueError(
            f"OUTPUT must end in {', '.join(endings)} or {last}, not "
            f"'{output}'."
        )
    if not output.parent.is_dir():
        raise ValueError(f"There is no folder '{output.parent}'.")
    if output.is_dir():
        raise ValueError(f"'{output}' is a folder.")
    if output.exists() and not args.force:
        raise ValueError(f"There is '{output}' already; --force replaces it.")
    if args.model and args.source.endswith(".keras"):
        raise ValueError("A .keras file holds its network; no --model then.")
    if args.model and not sources.is_file(args.source):
        raise ValueError(f"'{args.source}' names its network; no --model then.")
    return writers[0]


def convert(
    source: str, network: str | None, writer: Callable, output: pathlib.Path
) -> str:
    """Converts a file, and tells what was done.

    Args:
        source: File or name of a checkpoint.
        network: The network's name, if the file does not tell.
        writer: Called with the model and a path.
        output: Where to write.
    """
    with sources.reading(source):
        if sources.is_file(source):
            model = sources.from_file(source, network)
            keras_resnext.block_outputs(model)  # which refuses other networks
            path, terms = pathlib.Path(source), ""
        else:
            model = keras_resnext.get_model(
                source, input_shape=sources.any_size()
            )
            source = model.weights_info.name
            path = keras_resnext.download_weights(source)
            terms = f", {model.weights_info.license}"
        before = keras_resnext.inspect_checkpoint(path)
    from_size = megabytes(path)  # now, as it may be what is replaced
    working = rich.console.Console(stderr=True).status
    name = rich.markup.escape(output.name)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=output.parent) as new:
        staged = pathlib.Path(new, output.name)
        with working(f"Writing {name}"):
            writer(model, staged)
        with working(f"Checking {name}"):
            if not same_again(model, staged):
                raise ValueError(
                    f"'{source}' can't be written as {output.name}: the "
                    "weights would change. Nothing was written."
                )
        after = keras_resnext.inspect_checkpoint(staged)
        os.replace(staged, output)
    classes = "none" if before.classes is None else f"{before.classes:,}"
    tensors = f"{before.num_tensors} read, {after.num_tensors} written"
    return "\n".join(
        [
            f"network     {model.name}",
            f"source      {source} ({from_size}{terms})",
            f"layout      {before.layout}",
            f"classes     {classes}",
            f"parameters  {sources.num_parameters(model):,}",
            f"tensors     {tensors}",
            f"output      {output} ({megabytes(output)})",
            "check       identical: loaded again, every weight is equal bit "
            "for bit",
        ]
    )


def same_again(model: keras.Model, path: pathlib.Path) -> bool:
    """Whether a file holds all weights of a model, and the same ones.

    The model must not be used any more if it does not.
    """
    before = values(model)
    if path.suffix == ".keras":
        loaded = keras.saving.load_model(path)
    else:
        for variable in model.weights:
            variable.assign(np.full(variable.shape, np.nan))
        loaded = model
        keras_resnext.load_checkpoint(model, path)
    after = values(loaded)
    return len(before) == len(after) and all(
        one.shape == other.shape and one.tobytes() == other.tobytes()
        for one, other in zip(before, after, strict=True)
    )


def values(model: keras.Model) -> list[np.ndarray]:
    return [
        np.array(keras.ops.convert_to_numpy(variable.value))
        for variable in model.weights
    ]


def megabytes(path: pathlib.Path) -> str:
    return f"{path.stat().st_size / 1e6:.1f} MB"


if __name__ == "__main__":
    sys.exit(main())
