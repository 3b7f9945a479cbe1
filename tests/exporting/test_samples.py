"""Representative images: arrays, datasets and folders."""

import color_images
import keras
import numpy as np
import pytest
from PIL import Image

import keras_resnext
from keras_resnext.exporting.input_spec import InputSpec
from keras_resnext.exporting.samples import CALIBRATING
from keras_resnext.exporting.samples import COMPARED
from keras_resnext.exporting.samples import read_samples

pytestmark = pytest.mark.once


@pytest.fixture
def spec(tiny):
    model = keras_resnext.ResNeXt(tiny, classes=2)
    keras_resnext.set_data_config(model, size=32, crop_pct=1.0)
    return InputSpec.of_model(model, None, True)


def test_pairs_of_any_kind_are_the_same(spec):
    random = np.random.default_rng(0)
    x = random.integers(0, 256, (10, 32, 32, 3)).astype("uint8")
    y = random.integers(0, 2, 10)
    import tensorflow as tf

    for data in (
        (x, y),
        (x, keras.utils.to_categorical(y, 2)),
        [(x[:4], y[:4]), (x[4:], y[4:])],
        [[x[:4], y[:4]], [x[4:], y[4:]]],  # as PyTorch's loaders yield
        [(x, y, np.ones(10))],
        zip(x, y, strict=True),
        tf.data.Dataset.from_tensor_slices((x, y)).batch(3),
    ):
        samples = read_samples(data, spec, 2, "model")
        np.testing.assert_array_equal(samples.images, x)
        np.testing.assert_array_equal(samples.classes, y)
    for data in (x, list(x), [x[:4], x[4:]], [[x[:4]], [x[4:]]]):
        samples = read_samples(data, spec, 2, "model")
        np.testing.assert_array_equal(samples.images, x)
        assert samples.classes is None
    assert read_samples(None, spec, 2, "model") is None


def test_a_folder_is_read_as_for_evaluation(spec, tmp_path):
    folder = color_images.save(tmp_path / "colors") / "train"
    samples = read_samples(folder, spec, 2, "model")
    names = sorted(path.name for path in folder.iterdir())
    shades = samples.images.mean((1, 2))
    for i, name in enumerate(names):
        channel = ["red", "green", "blue"].index(name)
        assert (shades[samples.classes == i].argmax(-1) == channel).all()
    image = Image.fromarray(np.full((50, 40, 3), 7, "uint8"))
    image.save(tmp_path / "one.png")
    samples = read_samples(tmp_path, spec, 2, "model")
    assert samples.classes is None
    assert samples.images.shape == (1, 32, 32, 3)
    with pytest.raises(FileNotFoundError, match="no folder"):
        read_samples(tmp_path / "nowhere", spec, 2, "model")
    with pytest.raises(ValueError, match="5 classes"):
        read_samples(folder, spec, 5, "model")


@pytest.mark.parametrize(
    ("data", "match"),
    [
        ({"image": 1}, "Received: dict"),
        ([{"image": 1}], "Received: dict"),
        (["path.png"], "Received: str"),
        ([None], "Received: NoneType"),
        ([], "at least one"),
        (np.full((2, 32, 32, 3), np.nan), "Received: NaN or infinity"),
        ((np.zeros((2, 32, 32, 3), "uint8"), [0, 7]), "classes from 0 to 7"),
    ],
)
def test_other_data_get_one_sentence(spec, data, match):
    with pytest.raises(ValueError, match=match):
        read_samples(data, spec, 2, "model")


def test_many_images_are_spread(spec):
    x = np.zeros((1000, 32, 32, 3), "uint8")
    x += np.arange(1000)[:, None, None, None].astype("uint8")
    samples = read_samples(x, spec, 2, "model")
    assert len(samples.compared) == COMPARED
    assert CALIBRATING / 2 < len(samples.calibrating) <= CALIBRATING
    assert samples.calibrating[-1, 0, 0, 0] == x[-4, 0, 0, 0]
    samples = read_samples((x, np.zeros(1000, int)), spec, 2, "model")
    assert len(samples.compared) == 1000
