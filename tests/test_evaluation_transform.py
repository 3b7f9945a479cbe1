import pathlib

import numpy as np
import pytest
from PIL import Image
from torch_helpers import import_torchvision

from keras_resnext import resizing
from keras_resnext.preprocessing import EvaluationTransform
from keras_resnext.preprocessing import evaluation_transform
from keras_resnext.preprocessing import preprocess_input
from keras_resnext.weights.catalog import get_weights
from keras_resnext.weights.table import WEIGHTS

pytestmark = pytest.mark.once

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
# Transforms of ours and of timm, which many checkpoints share.
EQUAL = set()

# Heights and widths: portrait, landscape, square, odd, smaller than any crop.
SIZES = [(500, 333), (333, 500), (224, 224), (301, 299), (97, 61), (40, 1000)]


def noise(height, width):
    """Smooth enough that a filter's choice shows, rough enough for edges."""
    rng = np.random.default_rng(height * 1000 + width)
    coarse = rng.integers(0, 256, (-(-height // 8), -(-width // 8), 3), "uint8")
    return coarse.repeat(8, 0).repeat(8, 1)[:height, :width]


@pytest.fixture(scope="module")
def images():
    datasets = pytest.importorskip("sklearn.datasets")
    photos = datasets.load_sample_images().images
    return [
        Image.fromarray(pixels)
        for pixels in [*photos, *(noise(*size) for size in SIZES)]
    ]


class TestEvaluationTransform:
    def test_normalization_is_preprocess_input(self):
        x = noise(224, 224)
        assert EvaluationTransform(224, 224)(x).dtype == "float32"
        np.testing.assert_allclose(
            EvaluationTransform(224, 224)(x),
            preprocess_input(x, data_format="channels_last"),
            atol=1e-6,
        )

    def test_mean_and_std(self):
        transform = EvaluationTransform(8, 8, mean=(0, 0, 0), std=(1, 0.5, 2))
        y = transform(np.full((8, 8, 3), 255, "uint8"))
        np.testing.assert_array_equal(y, np.broadcast_to([1, 2, 0.5], y.shape))

    def test_other_kinds_of_images(self):
        transform = EvaluationTransform(40, 32)
        gray = noise(50, 61)[..., 0]
        rgb = np.repeat(gray[..., None], 3, axis=-1)
        alpha = np.dstack([rgb, gray])
        for image in (
            gray,
            rgb,
            rgb[::-1][::-1],
            Image.fromarray(gray),
            Image.fromarray(gray).convert("P"),
            Image.fromarray(alpha),
        ):
            np.testing.assert_array_equal(transform(image), transform(rgb))

    def test_input_is_untouched(self):
        x = noise(50, 60)
        before = x.copy()
        EvaluationTransform(40, 32)(x)
        np.testing.assert_array_equal(x, before)

    @pytest.mark.parametrize(
        ("image", "error", "message"),
        [
            (np.zeros((8, 8, 3), "float32"), ValueError, "uint8.*float32"),
            (np.zeros((8, 8, 4), "uint8"), ValueError, r"\(8, 8, 4\)"),
            (np.zeros((2, 8, 8, 3), "uint8"), ValueError, r"\(2, 8, 8, 3\)"),
            (np.zeros((8,), "uint8"), ValueError, r"\(8,\)"),
            (np.zeros((0, 8, 3), "uint8"), ValueError, "no pixels"),
            (Image.new("I;16", (8, 8)), ValueError, "'I;16'"),
            (Image.new("F", (8, 8)), ValueError, "mode 'F'"),
            ("cat.jpg", TypeError, "Received: str"),
        ],
    )
    def test_wrong_image(self, image, error, message):
        with pytest.raises(error, match=message):
            EvaluationTransform(256, 224)(image)

    def test_wrong_arguments(self):
        with pytest.raises(ValueError, match="bilinear, bicubic"):
            EvaluationTransform(256, 224, "nearest")
        with pytest.raises(ValueError, match="crop_size=0"):
            EvaluationTransform(256, 0)


class TestLongImages:
    """Only the part of a very long image inside the crop is resized."""

    @pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
    @pytest.mark.parametrize(
        ("height", "width"),
        [(2, 150), (150, 2), (1, 99), (9, 800), (800, 9), (1, 65)],
    )
    @pytest.mark.parametrize(
        ("resize", "crop"), [(40, 32), (32, 32), (8, 12), (7, 800)]
    )
    def test_is_the_crop_of_the_whole(
        self, height, width, resize, crop, interpolation, monkeypatch
    ):
        image = noise(height, width)
        transform = EvaluationTransform(resize, crop, interpolation)
        part = transform.pixels(image)
        monkeypatch.setattr(resizing, "_LONG", 10**9)
        whole = transform.pixels(image)
        # PIL's order of the two directions and its box are of its own choice.
        difference = np.abs(part.astype(int) - whole)
        assert difference.max() <= 2
        assert np.mean(difference > 0) < 0.02

    @pytest.mark.parametrize("mode", ["RGB", "L"])
    def test_memory_is_bounded(self, mode):
        # The whole, of 256 x 512,000,000 pixels, takes 512 GB.
        image = Image.new(mode, (2_000_000, 1), 3)
        y = EvaluationTransform(256, 224).pixels(image)
        assert y.max() == 3
        tall = image.transpose(Image.Transpose.TRANSPOSE)
        np.testing.assert_array_equal(
            EvaluationTransform(256, 224).pixels(tall), y
        )


class TestGrayModels:
    """Transforms for models of one channel."""

    def test_is_that_of_preprocess_input(self):
        transform = EvaluationTransform(40, 32).for_channels(1)
        gray = noise(50, 61)[..., :1]
        y = transform(gray)
        assert (y.shape, y.dtype) == ((32, 32, 1), "float32")
        pixels = transform.pixels(gray)
        assert (pixels.shape, pixels.dtype) == ((32, 32, 1), "uint8")
        np.testing.assert_allclose(
            y, preprocess_input(pixels, "channels_last"), atol=1e-6
        )
        for same in (gray[..., 0], np.repeat(gray, 3, -1)):
            np.testing.assert_array_equal(transform(same), y)
        color = Image.fromarray(noise(50, 61))
        np.testing.assert_array_equal(
            transform(color), transform(color.convert("L"))
        )

    def test_channels(self):
        transform = EvaluationTransform(40, 32, mean=(0.4,), std=(0.2,))
        assert transform.channels == 1
        assert transform.for_channels(1) is transform
        assert transform.for_channels(3).std == (0.2, 0.2, 0.2)
        with pytest.raises(ValueError, match="Received: 4"):
            transform.for_channels(4)
        with pytest.raises(ValueError, match="both"):
            EvaluationTransform(40, 32, mean=(0.4,))

    def test_the_adapted_stem_sees_what_the_colored_one_did(self):
        """The average is nearer to the colored model than one channel is."""
        kernel = np.random.default_rng(0).normal(size=(3, 8))
        gray = noise(64, 64)[..., :1]
        colored = preprocess_input(np.repeat(gray, 3, -1), "channels_last")
        wanted = colored @ kernel
        error = preprocess_input(gray, "channels_last") @ kernel.sum(
            0, keepdims=True
        )
        first = (gray / 255 - MEAN[0]) / STD[0] @ kernel.sum(0, keepdims=True)
        assert np.abs(error - wanted).mean() < np.abs(first - wanted).mean()


class TestEvaluationTransformOfWeights:
    @pytest.mark.parametrize(
        ("name", "size", "resize", "crop"),
        [
            ("a1h_in1k", None, 288, 288),
            ("a1h_in1k", 224, 235, 224),
            ("a1h_in1k", 320, 320, 320),
            ("tv2_in1k", 448, 464, 448),
            ("keras_in1k", None, 256, 224),
        ],
    )
    def test_sizes(self, name, size, resize, crop):
        weights = get_weights(f"resnext50_32x4d.{name}")
        expected = EvaluationTransform(
            resize, crop, weights.interpolation, MEAN, STD
        )
        assert evaluation_transform(weights, size) == expected
        assert evaluation_transform(weights.name, size) == expected

    @pytest.mark.parametrize("source", [None, pathlib.Path("a1h_in1k")])
    def test_another_type(self, source):
        with pytest.raises(TypeError, match="list_weights"):
            evaluation_transform(source)

    def test_a_misspelt_name_is_corrected(self):
        with pytest.raises(ValueError, match="Did you mean 'a1h_in1k'"):
            evaluation_transform("resnext50_32x4d.a1h_in1")

    def test_wrong_size(self):
        with pytest.raises(ValueError, match="at least one pixel"):
            evaluation_transform(WEIGHTS[0], size=0)


@pytest.mark.parity
class TestParity:
    @pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
    @pytest.mark.parametrize(
        ("resize", "crop"), [(256, 224), (235, 224), (288, 288), (150, 225)]
    )
    def test_torchvision(self, images, interpolation, resize, crop):
        import_torchvision()
        from torchvision import transforms

        reference = transforms.Compose(
            [
                transforms.Resize(
                    resize, transforms.InterpolationMode(interpolation)
                ),
                transforms.CenterCrop(crop),
                transforms.ToTensor(),
                transforms.Normalize(MEAN, STD),
            ]
        )
        ours = EvaluationTransform(resize, crop, interpolation)
        for image in images:
            np.testing.assert_array_equal(
                ours(image), reference(image).permute(1, 2, 0).numpy()
            )

    @pytest.mark.parametrize(
        "weights",
        [row for row in WEIGHTS if row.tag.startswith("IMAGENET1K_")],
        ids=lambda weights: weights.name,
    )
    def test_torchvision_weights(self, images, weights):
        models = import_torchvision().models
        reference = models.get_model_weights(weights.variant)[weights.tag]
        reference = reference.transforms()
        ours = evaluation_transform(weights)
        for image in images:
            np.testing.assert_array_equal(
                ours(image), reference(image).permute(1, 2, 0).numpy()
            )

    @pytest.mark.parametrize("use_test_size", [False, True])
    @pytest.mark.parametrize(
        "weights",
        [
            row
            for row in WEIGHTS
            if row.layout.startswith("timm_")
            and not row.tag.startswith("IMAGENET1K_")
            # timm has no such models.
            and row.variant != "resnext101_32x48d"
            and row.dataset == "imagenet"
        ],
        ids=lambda weights: weights.name,
    )
    def test_timm(self, images, weights, use_test_size):
        import_torchvision()
        timm = pytest.importorskip("timm")
        config = timm.data.resolve_data_config(
            pretrained_cfg=timm.get_pretrained_cfg(weights.name).to_dict(),
            use_test_size=use_test_size,
        )
        reference = timm.data.create_transform(**config)
        ours = evaluation_transform(weights, size=config["input_size"][-1])
        if (ours, str(reference)) in EQUAL:
            return
        for image in images[1:5]:
            np.testing.assert_array_equal(
                ours(image), reference(image).permute(1, 2, 0).numpy()
            )
        EQUAL.add((ours, str(reference)))
