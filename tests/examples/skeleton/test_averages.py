"""A short run with averaged weights ends where one without them does."""

import csv
import pathlib
import sys

import digits  # noqa: F401  (importing it registers the data set)
import pytest

import keras_resnext
from skeleton import arguments
from skeleton import script

DEFAULTS = arguments.Defaults("digits", "resnext23s_4x32d", "torchvision_v2")
SIZES = ("train_size=16", "evaluation_size=16", "evaluation_resize=16")


# Images of 16x16 pixels, of which shifts by 32 would leave nothing, and a
# learning rate for batches of 32.
FIELDS = (*SIZES, "flip=no", "policy=none", "crop_scale=0.5")
RATE = "learning_rate=3.2"


@pytest.mark.slow
def test_ten_epochs_of_torchvisions_recipe(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    monkeypatch.chdir(tmp_path)
    small = keras_resnext.ResNeXtConfig(
        depths=(1, 1),
        grouping=keras_resnext.Template(8, 16),
        out_channels=(32, 64),
        stem=keras_resnext.Stem((16,), kernel_size=3, strides=1, pool=None),
        default_size=16,
    )
    rows = {**keras_resnext.VARIANTS, "resnext23s_4x32d": small}
    monkeypatch.setattr(keras_resnext, "VARIANTS", rows)

    def accuracy(*fields: str) -> float:
        """Validation accuracy after the last epoch of a run."""
        output = tmp_path / "-".join(("run", *fields))
        line = ["train.py", "--recipe", "torchvision_v2", "--epochs", "10"]
        line += ["--batch-size", "32", "--data-dir", str(tmp_path)]
        line += ["--output", str(output), "--set", *FIELDS, RATE, *fields]
        monkeypatch.setattr(sys, "argv", line)
        parser = arguments.parser("Trains.", DEFAULTS)
        assert script.main(parser, script.from_nothing) == 0
        with (output / "history.csv").open() as file:
            return float(list(csv.DictReader(file))[-1]["val_accuracy"])

    averaged, plain = accuracy(), accuracy("ema_decay=0")
    print(f"{averaged:.2%} averaged, {plain:.2%} without averages")
    assert plain > 0.9
    assert abs(averaged - plain) < 0.02
