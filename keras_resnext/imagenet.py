"""The 1,000 classes of ImageNet's challenge. Standard library only."""

import csv
from functools import cache
from importlib import resources
from typing import NamedTuple


class ImageNetClass(NamedTuple):
    """Class of ImageNet: its WordNet id, name and number in the challenge."""

    wnid: str
    name: str
    challenge: int


@cache
def classes() -> tuple[ImageNetClass, ...]:
    """Return all classes in the usual order, that of their WordNet ids."""
    file = resources.files("keras_resnext") / "imagenet_classes.csv"
    rows = csv.DictReader(file.read_text(encoding="utf-8").splitlines())
    return tuple(
        ImageNetClass(row["wnid"], row["name"], int(row["challenge"]))
        for row in rows
    )
