"""The command `info`: size, cost and stages of a model."""

import argparse

import keras

import keras_resnext
from keras_resnext.cli import loading
from keras_resnext.cli import printing
from keras_resnext.cli import usage


def run(args: argparse.Namespace) -> int:
    """Print a model's size, cost and stages."""
    found = information(args.model, args.size)
    if args.json:
        printing.print_json(found)
        return 0
    size, top = found["size"], found["weights"][:3]
    more = len(found["weights"]) - len(top)
    names = ", ".join(top) + (f" and {more} more" if more else "")
    printing.print_pairs(
        model=found["name"],
        parameters=f"{found['parameters']:,}",
        multiply_adds=f"{found['multiply_adds']:,} at {size}x{size}",
        weights=names or "none",
    )
    table = printing.table(
        "stage", "blocks>", "channels>", "paths>", "map>", "receptive field>"
    )
    for stage in found["stages"]:
        paths = stage["paths"]
        table.add_row(
            stage["name"],
            str(stage["blocks"] or ""),
            str(stage["channels"]),
            f"{paths} x {stage['width'] // paths}" if paths else "",
            f"{stage['map']}x{stage['map']}",
            str(stage["receptive_field"]),
        )
    printing.show(table)
    return 0


def information(name: str, size: int | None) -> dict:
    """Return the properties of a model, for images of a size."""
    variant = name.partition(".")[0]
    size = size or loading.own_size(variant)
    shape = loading.shape(size)
    # Without allocating weights, of which there may be 828 million.
    with usage(), keras.StatelessScope(initialize_variables=False):
        model = keras_resnext.get_model(
            variant, weights=None, input_shape=shape
        )
    config = keras_resnext.VARIANTS[variant]
    fields = keras_resnext.complexity.receptive_fields(model)
    names = [layer.name for layer in model.layers]
    stages = []
    for index in range(len(config.depths) + 1):
        stage = f"stage{index}" if index else "stem"
        last = [each for each in names if each.startswith(f"{stage}_")][-1]
        block = next(iter(config.blocks(index))) if index else None
        output = model.get_layer(last).output.shape[1:]
        channels = output[-1] if shape[-1] == 3 else output[0]
        stages.append(
            {
                "name": stage,
                "blocks": config.depths[index - 1] if index else 0,
                "channels": channels,
                "paths": block.groups if block else 0,
                "width": block.width if block else 0,
                "map": output[1],
                "receptive_field": fields[last],
            }
        )
    published = [row.variant for row in keras_resnext.list_weights()]
    return {
        "name": variant,
        "size": size,
        "parameters": keras_resnext.complexity.num_parameters(model),
        "multiply_adds": keras_resnext.complexity.multiply_adds(model),
        "weights": [row.tag for row in keras_resnext.list_weights(variant)]
        if variant in published
        else [],
        "stages": stages,
    }
