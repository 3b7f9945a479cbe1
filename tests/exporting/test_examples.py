"""Example scripts see an image exactly as the model's evaluation does."""

import runpy
import types

import numpy as np
import pytest
from PIL import Image

import keras_resnext
from keras_resnext.exporting.examples import script
from keras_resnext.exporting.formats import FORMATS
from keras_resnext.exporting.input_spec import InputSpec

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Landscape, portrait, odd, gray and transparent images, as files."""
    datasets = pytest.importorskip("sklearn.datasets")
    china, flower = map(Image.fromarray, datasets.load_sample_images().images)
    photographs = {
        "landscape.jpg": china,
        "portrait.jpg": flower.transpose(Image.Transpose.ROTATE_90),
        "odd.png": china.crop((0, 0, 301, 426)),
        "square.png": flower.crop((100, 50, 324, 274)),
        "small.png": flower.resize((61, 27)),
        "gray.png": china.convert("L"),
        "transparent.png": Image.merge(
            "RGBA", (*flower.split(), flower.convert("L"))
        ),
    }
    folder = tmp_path_factory.mktemp("photographs")
    for name, image in photographs.items():
        image.save(folder / name)
    return sorted(folder.iterdir())


def reader(input_spec, tmp_path):
    """Return the function that reads an image file in an example script."""
    output = types.SimpleNamespace(output={"logits": None})
    model = types.SimpleNamespace(
        input_spec=input_spec, wrapped=output, labels=None
    )
    path = tmp_path / "run_onnx.py"
    path.write_text(script(FORMATS["onnx"], model))
    return runpy.run_path(path)["read"]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("pixels", [True, False])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(
    ("resize", "crop"),
    [(256, 224), (235, 224), (232, 224), (201, 176), (224, 224), (150, 225)],
)
def test_read_is_the_evaluation_transform(
    resize, crop, interpolation, pixels, channels, photographs, tmp_path
):
    transform = keras_resnext.EvaluationTransform(
        resize, crop, interpolation
    ).for_channels(channels)
    input_spec = InputSpec(
        (crop, crop), channels, "channels_last", transform, pixels
    )
    read = reader(input_spec, tmp_path)
    for photograph in photographs:
        with Image.open(photograph) as image:
            expected = (transform.pixels if pixels else transform)(image)
        x = read(photograph)
        assert x.dtype == expected.dtype
        # PyTorch warns about others.
        assert x.flags.writeable
        np.testing.assert_array_equal(x[0], expected, photograph.name)


def test_read_crops_the_center_for_models_of_other_shapes(
    photographs, tmp_path
):
    transform = keras_resnext.EvaluationTransform(256, 224)
    shape = (160, 224)
    input_spec = InputSpec(shape, 3, "channels_last", transform, True)
    read = reader(input_spec, tmp_path)
    for photograph in photographs:
        with Image.open(photograph) as image:
            square = transform.pixels(image)
        np.testing.assert_array_equal(read(photograph)[0], square[32:192])
