"""Type checkers know the public face: what it lacks is an error."""

import pathlib

import mypy.api
import pytest

pytestmark = pytest.mark.once

ROOT = pathlib.Path(__file__).parents[1]
USES = """\
import keras_resnext
from keras_resnext import data
from keras_resnext.cli import scripts

model = keras_resnext.ResNeXt50(weights=None)
keras_resnext.get_modle("resnext50_32x4d")
keras_resnext.ResNeXt50(wieghts=None)
keras_resnext.training.recipes.gett("paper")
data.load_datasets("cifar10")
data.load_dataset("cifar10", validate=True)
scripts.positive(1)
"""


def test_misspelt_names_are_errors(tmp_path, monkeypatch):
    path = tmp_path / "uses.py"
    path.write_text(USES, "utf-8")
    monkeypatch.setenv("MYPYPATH", str(ROOT))
    cache = ROOT / ".mypy_cache" / "test_types"
    options = ["--ignore-missing-imports", f"--cache-dir={cache}"]
    options += ["--config-file=", "--follow-imports=silent"]
    report, failure, _ = mypy.api.run([*options, str(path)])
    assert not failure
    lines = [line for line in report.splitlines() if ": error: " in line]
    assert [int(line.split(":")[1]) for line in lines] == list(range(6, 12))
