"""Variants cut down to a block a stage, built and traced in little time."""

import gc
from dataclasses import replace

import pytest

from keras_resnext.variants import VARIANTS


def shrink(patch: pytest.MonkeyPatch, *names: str) -> None:
    """Cut variants down for everyone, whatever has imported the table."""
    # The rows behind the proxy, which nothing else can change.
    (rows,) = gc.get_referents(VARIANTS)
    for name in names:
        stages = len(rows[name].depths)
        channels = tuple(range(128, 128 * stages + 1, 128))
        small = replace(rows[name], depths=(1,) * stages, out_channels=channels)
        patch.setitem(rows, name, small)
