"""Lookup of published checkpoints by name, variant, tag and license."""

import fnmatch

from keras_resnext.checks import check_type
from keras_resnext.suggestions import did_you_mean
from keras_resnext.variants import find_variant
from keras_resnext.weights.records import Weights
from keras_resnext.weights.table import WEIGHTS

COMMERCIAL = "commercial"


def _listing(rows: list[Weights]) -> str:
    return ", ".join(f"'{row.tag}' ({row.license})" for row in rows)


def get_weights(name: str) -> Weights:
    """Return the record of a published checkpoint.

    Args:
        name: `"variant.tag"`; a variant alone stands for its default
            checkpoint, as does the tag `"imagenet"`.

    Returns:
        A `Weights` record: license, accuracies, size and normalization of
        the images, and where the files are.

    Raises:
        ValueError: If there is no such checkpoint. The message suggests
            names.

    Example:
    >>> weights = keras_resnext.get_weights("resnext50_32x4d.a1_in1k")
    >>> weights.license, weights.top1, weights.eval_size
    ('apache-2.0', 81.48, 288)
    """
    check_type("name", name, str)
    variant, _, tag = name.partition(".")
    find_variant(variant)
    return find_weights(variant, tag or "imagenet")


def default_weights(variant: str) -> Weights | None:
    """Return the checkpoint of `weights="imagenet"`.

    It is the one with the highest top-1 accuracy among those whose license
    allows commercial use.

    Args:
        variant: The variant's name, for example `"resnext50_32x4d"`.

    Returns:
        A `Weights` record, or `None` if the variant has no checkpoint under a
        permissive license.

    Example:
    >>> default_weights("resnext50_32x4d").tag
    'a1h_in1k'
    """
    rows = [
        row
        for row in WEIGHTS
        if row.variant == variant
        and row.permissive
        and row.dataset == "imagenet"
    ]
    return max(rows, key=lambda row: row.top1 or 0.0, default=None)


def list_weights(
    model: str | None = None, license: str | None = None
) -> list[Weights]:
    """List the published checkpoints.

    Args:
        model: Variant name or a shell-style pattern, for example
            `"resnext50*"`. `None` lists every variant.
        license: SPDX identifier, for example `"apache-2.0"`, in any case, or
            `"commercial"` for every license that allows commercial use, which
            leaves out CC BY-NC and unknown ones. `None` lists all.

    Returns:
        A list of `Weights` records, those of one variant together, the highest
        top-1 accuracy first. It is empty if no checkpoint of `model` is under
        `license`.

    Raises:
        ValueError: If no variant with a checkpoint matches `model`, or no
            checkpoint has that `license`.

    Example:
    >>> for weights in list_weights("resnext50*", license="bsd-3-clause"):
    ...     print(weights.name, weights.top1)
    resnext50_32x4d.IMAGENET1K_V2 81.198
    resnext50_32x4d.tv2_in1k 81.19
    resnext50_32x4d.tv_in1k 77.632
    resnext50_32x4d.IMAGENET1K_V1 77.618
    """
    check_type("model", model, str | None)
    check_type("license", license, str | None)
    rows = list(WEIGHTS)
    if model is not None:
        rows = [row for row in rows if fnmatch.fnmatchcase(row.variant, model)]
        if not rows:
            variants = dict.fromkeys(row.variant for row in WEIGHTS)
            raise ValueError(
                f"No checkpoint is published for model={model!r}. There are "
                f"checkpoints of: {', '.join(variants)}."
            )
    if license is None:
        return rows
    if license == COMMERCIAL:
        return [row for row in rows if row.permissive]
    licenses = sorted({row.license for row in WEIGHTS})
    if license.lower() not in licenses:
        raise ValueError(
            f"No checkpoint has license={license!r}."
            + did_you_mean(license, [COMMERCIAL, *licenses])
            + f" Use '{COMMERCIAL}' or one of {', '.join(licenses)}."
        )
    return [row for row in rows if row.license == license.lower()]


def find_weights(variant: str, weights: str) -> Weights:
    """Look up the checkpoint that a variant's argument `weights` names.

    Args:
        variant: The variant's name, for example `"resnext50_32x4d"`.
        weights: `"imagenet"` for the default checkpoint (see
            `default_weights`), a tag such as `"tv2_in1k"`, or the full name
            such as `"resnext50_32x4d.tv2_in1k"`.

    Returns:
        A `Weights` record.

    Raises:
        ValueError: If the variant has no such checkpoint. The message lists
            the tags it has, with their licenses.

    Example:
    >>> find_weights("resnext101_64x4d", "imagenet").name
    'resnext101_64x4d.IMAGENET1K_V1'
    """
    rows = [row for row in WEIGHTS if row.variant == variant]
    if not rows:
        raise ValueError(
            f"No checkpoint of {variant} is published in a layout that can be "
            f"read. Use `weights=None` or the path of a file. Received: "
            f"weights={weights!r}"
        )
    if weights == "imagenet":
        default = default_weights(variant)
        if default is None and all(row.dataset != "imagenet" for row in rows):
            raise ValueError(
                f"{variant} has no checkpoint from ImageNet. Use "
                f"`weights=None` or one of its tags: {_listing(rows)}."
            )
        if default is None:
            raise ValueError(
                f"{variant} has no checkpoint under a permissive license, so "
                f"weights='imagenet' does not choose one. If a license "
                f"without commercial use suits you, name a tag: "
                f"{_listing(rows)}. Otherwise use `weights=None`."
            )
        return default
    for row in rows:
        if weights in (row.tag, row.name):
            return row
    tag = weights.removeprefix(f"{variant}.")
    raise ValueError(
        f"{variant} has no checkpoint {weights!r}."
        + did_you_mean(tag, [row.tag for row in rows])
        + f" Use `None`, 'imagenet' or one of its tags: {_listing(rows)}."
    )
