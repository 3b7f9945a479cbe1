"""The command `convert`: weights from one library's format to another's.

The new file is loaded again before it is renamed to OUTPUT, which is written
only if all weights equal the source's, bit for bit.
"""

import argparse
import os
import pathlib
from collections.abc import Callable

import keras
import numpy as np
import rich.console
import rich.markup

import keras_resnext
from keras_resnext import atomic_files
from keras_resnext.cli import Failure
from keras_resnext.cli import UsageError
from keras_resnext.cli import loading
from keras_resnext.cli import printing
from keras_resnext.weights.save_keras import save_keras

WRITERS: dict[str, Callable] = {
    ".weights.h5": save_keras,
    ".keras": save_keras,
    ".safetensors": keras_resnext.save_torch_checkpoint,
}


def run(args: argparse.Namespace) -> int:
    """Convert a file, and print a report."""
    writer = check(args)
    found = convert(args.source, args.model, writer, args.output)
    if args.json:
        printing.print_json(found)
        return 0
    license = found["license"]
    terms = f", {license}" if license else ""
    classes = found["classes"]
    printing.print_pairs(
        model=found["model"],
        source=f"{found['source']} ({megabytes(found['source_bytes'])}{terms})",
        layout=found["layout"],
        classes="none" if classes is None else f"{classes:,}",
        parameters=f"{found['parameters']:,}",
        tensors=f"{found['tensors_read']} read, "
        f"{found['tensors_written']} written",
        output=f"{found['output']} ({megabytes(found['output_bytes'])})",
        check="identical: loaded again, every weight is equal bit for bit",
    )
    return 0


def check(args: argparse.Namespace) -> Callable:
    """Return the writer of the output; refuse invalid arguments at once."""
    output = args.output
    writers = [
        writer for end, writer in WRITERS.items() if output.name.endswith(end)
    ]
    if not writers:
        *endings, last = WRITERS
        raise UsageError(
            f"OUTPUT must end in {', '.join(endings)} or {last}, not "
            f"'{output}'."
        )
    if not output.parent.is_dir():
        raise Failure(f"There is no folder '{output.parent}'.")
    if output.is_dir():
        raise Failure(f"'{output}' is a folder.")
    if output.exists() and not args.force:
        raise Failure(f"'{output}' already exists; --force replaces it.")
    if args.model and args.source.endswith(".keras"):
        raise UsageError("A .keras file contains its model; leave --model out.")
    if args.model and not loading.is_file(args.source):
        raise UsageError(f"'{args.source}' names its model; leave --model out.")
    return writers[0]


def convert(
    source: str, variant: str | None, writer: Callable, output: pathlib.Path
) -> dict:
    """Convert a file, and return the values of the report.

    Args:
        source: File, address or name of a checkpoint.
        variant: Name of the variant, if the file does not name it.
        writer: Called with the model and a path.
        output: Path of the output file.
    """
    with loading.reading(source):
        if loading.is_file(source):
            model = loading.from_file(source, variant)
            keras_resnext.block_outputs(model)  # which refuses other models
            before = keras_resnext.inspect_checkpoint(source)
            license = None
        else:
            loading.check_name(source)
            model = keras_resnext.get_model(source, input_shape=loading.shape())
            record = model.weights_info
            source, license = record.name, record.license
            before = keras_resnext.inspect_checkpoint(record)
    # Measured first, as the output may replace it.
    source_bytes = os.stat(before.path or "").st_size
    working = rich.console.Console(stderr=True).status
    name = rich.markup.escape(output.name)
    with atomic_files.replacing(output) as staged:
        with working(f"Writing {name}"):
            writer(model, staged)
        with working(f"Checking {name}"):
            if not same_again(model, staged):
                raise Failure(
                    f"'{source}' can't be written as {output.name}: the "
                    "weights would change. Nothing was written."
                )
        after = keras_resnext.inspect_checkpoint(staged)
    return {
        "model": model.name,
        "source": source,
        "source_bytes": source_bytes,
        "license": license,
        "layout": before.layout,
        "classes": before.classes,
        "parameters": keras_resnext.complexity.num_parameters(model),
        "tensors_read": before.num_tensors,
        "tensors_written": after.num_tensors,
        "output": os.fspath(output),
        "output_bytes": output.stat().st_size,
    }


def same_again(model: keras.Model, path: pathlib.Path) -> bool:
    """Return whether a file contains exactly the weights of a model.

    If it does not, the model must not be used afterwards.
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


def megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
