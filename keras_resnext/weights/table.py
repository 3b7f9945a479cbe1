"""Table of published checkpoints: the rows of `catalog.csv`, as records.

The columns are the fields of `Weights`, and an empty cell takes the field's
default:

    evaluations  size, crop, top-1 and top-5, the best first, separated by
                 "; ": `288 1.0 82.016 95.934; 224 0.95 81.140 95.320`;
                 without the last two if no accuracy is published
    sources      addresses, in the order in which they are tried, with a hash
                 if known: `hf://owner/name@revision#sha256=…`, where the
                 revision is a commit's full 40 hex digits or left out;
                 `https://…/x.h5#md5=…`; `https://…/x-7cdf4587.pth`, whose
                 name ends in the hash, as for torch.hub; or the name of a
                 file in the folder `bundled`
    num_params   counted by building the model, as a test checks: counting
                 without Keras would repeat the arithmetic of every layer, and
                 the catalog is read without Keras

A name is `variant.tag`: timm's name of the variant, and the tag by the
checkpoint's publisher, or the publisher's name if there is no tag.
"""

import csv
import pathlib
from collections.abc import Callable
from typing import Any

from keras_resnext.weights.records import Evaluation
from keras_resnext.weights.records import HubFile
from keras_resnext.weights.records import PackageFile
from keras_resnext.weights.records import WebFile
from keras_resnext.weights.records import Weights


def _number(text: str) -> float:
    """Parse a decimal, or a quotient of two such as `224/232`."""
    dividend, _, divisor = text.partition("/")
    return float(dividend) / float(divisor or 1)


def _numbers(text: str) -> tuple[float, ...]:
    return tuple(_number(word) for word in text.split())


def _evaluations(text: str) -> tuple[Evaluation, ...]:
    evaluations = []
    for words in text.split(";"):
        size, crop, *accuracies = words.split()
        evaluations.append(
            Evaluation(int(size), _number(crop), *map(float, accuracies))
        )
    return tuple(evaluations)


def _sources(text: str) -> tuple[HubFile | WebFile | PackageFile, ...]:
    return tuple(_source(address) for address in text.split())


def _source(text: str) -> HubFile | WebFile | PackageFile:
    address, _, fragment = text.partition("#")
    digest = fragment.partition("=")[2]
    if address.startswith("hf://"):
        repo_id, _, revision = address.removeprefix("hf://").partition("@")
        return HubFile(
            repo_id, revision=revision or "main", sha256=digest or None
        )
    if address.endswith(".pth"):
        name = address.removesuffix(".pth")
        return WebFile(address, sha256_prefix=name.rpartition("-")[2])
    if address.endswith(".h5"):
        has_top = not address.endswith(("_notop.h5", "_no_top.h5"))
        return WebFile(address, md5=digest, has_top=has_top)
    return PackageFile(address, digest)


_PARSERS: dict[str, Callable[[str], Any]] = {
    "num_params": int,
    "train_size": int,
    "classes": int,
    "evaluations": _evaluations,
    "mean": _numbers,
    "std": _numbers,
    "sources": _sources,
}


def _weights(row: dict[str, str]) -> Weights:
    cells = {field: cell for field, cell in row.items() if cell}
    return Weights(
        **{field: _PARSERS.get(field, str)(cells[field]) for field in cells}
    )


_TEXT = pathlib.Path(__file__).with_name("catalog.csv").read_text("utf-8")
WEIGHTS = tuple(map(_weights, csv.DictReader(_TEXT.splitlines())))
