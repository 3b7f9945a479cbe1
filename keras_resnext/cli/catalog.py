"""The commands `list` and `weights`."""

import argparse
import dataclasses
import fnmatch

from keras_resnext.cli import UsageError
from keras_resnext.cli import printing
from keras_resnext.cli import usage
from keras_resnext.config import FixedCardinality
from keras_resnext.suggestions import did_you_mean
from keras_resnext.variants import VARIANTS
from keras_resnext.weights.catalog import default_weights
from keras_resnext.weights.catalog import list_weights


def run(args: argparse.Namespace) -> int:
    """Print models or weights."""
    if args.command == "list":
        print_models(args.pattern, args.json)
    else:
        print_weights(args.pattern, args.license, args.json)
    return 0


def print_models(pattern: str, as_json: bool) -> None:
    """Print the models whose names match."""
    names = sorted(fnmatch.filter(VARIANTS, pattern))
    if not names:
        raise UsageError(
            f"No model matches '{pattern}'.{did_you_mean(pattern, VARIANTS)}"
        )
    rows = [describe(name) for name in names]
    if as_json:
        return printing.print_json(rows)
    table = printing.table(
        "model", "blocks", "paths", "size>", "weights", "top-1>"
    )
    for row in rows:
        table.add_row(
            row["name"],
            "-".join(map(str, row["blocks"])),
            str(row["cardinality"] or f"of {row['group_width']} channels"),
            str(row["size"]),
            row["weights"] or "",
            f"{row['top1']:.1f} %" if row["top1"] else "",
        )
    printing.show(table)


def describe(name: str) -> dict:
    """Return the columns of a model in the list."""
    config, weights = VARIANTS[name], default_weights(name)
    grouping = config.grouping
    cardinality, group_width = (
        (grouping.cardinality, None)
        if isinstance(grouping, FixedCardinality)
        else (None, grouping.channels)
    )
    return {
        "name": name,
        "blocks": list(config.depths),
        "cardinality": cardinality,
        "group_width": group_width,
        "size": config.default_size,
        "weights": weights and weights.tag,
        "top1": weights and weights.top1,
    }


def print_weights(pattern: str, license: str | None, as_json: bool) -> None:
    """Print published checkpoints."""
    variant, _, tag = pattern.partition(".")
    variants = {row.variant for row in list_weights()}
    if not fnmatch.filter(variants, variant):
        raise UsageError(
            f"No weights are published for '{variant}'."
            f"{did_you_mean(variant, variants)}"
        )
    with usage():
        licensed = list_weights(variant, license)
    rows = [row for row in licensed if fnmatch.fnmatchcase(row.tag, tag or "*")]
    if tag and not rows:
        tags = [row.tag for row in licensed]
        raise UsageError(
            f"{variant} has no weights '{tag}'.{did_you_mean(tag, tags)}"
        )
    if as_json:
        return printing.print_json(
            [
                {
                    "name": row.name,
                    **dataclasses.asdict(row),
                    "top1": row.top1,
                    "top5": row.top5,
                    "commercial": row.permissive,
                }
                for row in rows
            ]
        )
    table = printing.table(
        "weights", "license", "top-1>", "top-5>", "size>", "parameters>"
    )
    for row in rows:
        table.add_row(
            row.name,
            row.license,
            f"{row.top1:.2f} %" if row.top1 else "",
            f"{row.top5:.2f} %" if row.top5 else "",
            str(row.eval_size),
            f"{row.num_params:,}",
        )
    printing.show(table)
