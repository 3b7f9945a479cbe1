"""examples/paper/paths.py: the contribution of each path, as a figure."""

import keras
import numpy as np
import PIL.Image
from run_script import assert_one_sentence
from run_script import run_commands

import keras_resnext
from examples.paper import paths


def test_a_path_that_does_nothing_adds_nothing(tiny):
    model = keras_resnext.ResNeXt(tiny, input_shape=(16, 16, 3), classes=5)
    # The second of four paths, of the two channels that each has.
    name = "stage1_block1_bn2"
    for variable in model.get_layer(name).trainable_variables:
        values = keras.ops.convert_to_numpy(variable).copy()
        values[2:4] = 0
        variable.assign(values)
    images = np.random.default_rng(0).normal(size=(3, 16, 16, 3))
    found = paths.contributions(model, images.astype("float32"))
    assert list(found) == ["stage1_block1", "stage2_block1"]
    first, second = found.values()
    assert first.shape == second.shape == (4,)
    assert np.abs(first[1]) < 1e-6
    assert (np.abs(second) > 1e-6).all()


def test_figure(tmp_path):
    found = {"stage1_block1": np.arange(4.0), "stage2_block1": np.zeros(32)}
    paths.draw(found, "A model", tmp_path / "paths.png")
    with PIL.Image.open(tmp_path / "paths.png") as image:
        colors = image.convert("RGB").getcolors(1 << 20)
    # Those of four paths, from white to blue.
    assert len(colors) > 4


def test_a_users_lines(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 40, 40, 3), "uint8")
    for number, each in enumerate(pixels):
        PIL.Image.fromarray(each).save(tmp_path / f"{number}.png")
    (tmp_path / "notes.png").write_text("no image")
    model = ["--model", "resnext23s_4x32d.cifar10"]
    lines = [
        ["0.png", "1.png", *model, "--output", "found.png"],
        ["missing.png", *model],
        ["notes.png", *model],
        ["0.png", "--model", "resnext5"],
        [],
    ]
    done, *wrong = run_commands(lines, tmp_path, paths.main)
    assert done.status == 0
    assert "Written to found.png" in done.stdout
    assert (tmp_path / "found.png").exists()
    words = ["missing.png", "notes.png", "'resnext5'", "IMAGE"]
    for result, status, word in zip(wrong, (2, 1, 2, 2), words, strict=True):
        assert result.status == status
        assert_one_sentence(result.stderr, word)
