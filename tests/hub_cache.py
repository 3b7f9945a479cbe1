"""Cache of the Hugging Face hub with files that a test put there."""

import os
import pathlib
import shutil

import pytest
from huggingface_hub import constants

COMMIT = "0123456789abcdef0123456789abcdef01234567"
# A checkpoint whose hash is unknown, so that any file is accepted.
RECORD = "resnext26ts.ra2_in1k"


def put(file: pathlib.Path, home: pathlib.Path, name: str = RECORD) -> None:
    """Put a file where `HF_HOME` has a checkpoint of timm's."""
    root = home / "hub" / f"models--timm--{name}"
    folder = root / "snapshots" / COMMIT
    folder.mkdir(parents=True)
    shutil.copy(file, folder / "model.safetensors")
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text(COMMIT)


def offline(patch: pytest.MonkeyPatch, home: pathlib.Path) -> None:
    """Keep the downloads of this process to these caches."""
    patch.setattr(constants, "HF_HUB_OFFLINE", True)
    patch.setattr(constants, "HF_HUB_CACHE", os.fspath(home / "hub"))
    patch.setenv("KERAS_HOME", os.fspath(home / "keras"))
