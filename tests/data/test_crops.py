"""Random crops, and the crop of evaluation."""

import io
import operator

import numpy as np
import PIL.Image
import pytest
import tensorflow as tf
from draws import DRAWS
from draws import assert_deterministic
from draws import assert_same_distribution
from draws import draw
from torch_helpers import import_torchvision

from keras_resnext import EvaluationTransform
from keras_resnext.data import crops

pytestmark = pytest.mark.once

FILTERS = {
    "bilinear": PIL.Image.Resampling.BILINEAR,
    "bicubic": PIL.Image.Resampling.BICUBIC,
}


def encoded(pixels, format="JPEG", **options):
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, format, **options)
    return file.getvalue()


def box_of(image, seed):
    height, width = image.shape[:2]
    top, left, height, width = map(
        int, crops.random_resized_box(height, width, seed)
    )
    return left, top, left + width, top + height


def assert_pils(ours, theirs):
    """Assert equality, except for rounding of one value in a hundred."""
    ours, theirs = np.asarray(ours), np.asarray(theirs, "float32")
    assert ours.dtype == "float32"
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= 2
    assert (ours != theirs).mean() < 0.01


class TestBox:
    @pytest.mark.parametrize("shape", [(375, 500), (500, 333), (7, 5), (1, 1)])
    def test_lies_in_the_image(self, shape):
        boxes = draw(
            lambda seed: crops.random_resized_box(*shape, seed),
            seed=0,
            count=99,
        )
        top, left, height, width = boxes.T
        assert np.all((top >= 0) & (left >= 0) & (height > 0) & (width > 0))
        assert np.all((top + height <= shape[0]) & (left + width <= shape[1]))

    @pytest.mark.parametrize(
        ("shape", "box"),
        [
            ((10, 1000), (0, 493, 10, 13)),
            ((1001, 9), (494, 0, 12, 9)),
            # No try rounds to a whole pixel; the ratio is within bounds.
            ((3, 3), (0, 0, 3, 3)),
        ],
    )
    def test_middle_where_nothing_fits(self, shape, box):
        scale = (0.001, 0.001) if shape == (3, 3) else (0.9, 1.0)
        drawn = crops.random_resized_box(*shape, (0, 0), scale)
        assert [each.dtype for each in drawn] == [tf.int32] * 4
        assert tuple(map(int, drawn)) == box

    @pytest.mark.parity
    @pytest.mark.parametrize(
        ("height", "width", "scale"),
        [(375, 500, (0.08, 1.0)), (128, 400, (0.08, 1.0))],
    )
    def test_distribution_is_torchvisions(self, height, width, scale):
        transforms = import_torchvision().transforms
        import torch

        torch.manual_seed(0)
        image = torch.empty(1, height, width)
        ratio = (3 / 4, 4 / 3)
        theirs = np.array(
            [
                transforms.RandomResizedCrop.get_params(image, scale, ratio)
                for _ in range(DRAWS)
            ]
        )
        ours = draw(
            lambda seed: crops.random_resized_box(height, width, seed, scale), 0
        )
        for of in (
            lambda box: box[2] * box[3],
            lambda box: box[3] / box[2],
            *map(operator.itemgetter, range(4)),
        ):
            assert_same_distribution(of(ours.T), of(theirs.T))


class TestRandomResized:
    @pytest.mark.parametrize("interpolation", FILTERS)
    def test_pixels_as_pil(self, photos, interpolation):
        for i, photo in enumerate(photos):
            for size in (32, 160):
                theirs = PIL.Image.fromarray(photo).crop(box_of(photo, (i, 0)))
                theirs = theirs.resize((size, size), FILTERS[interpolation])
                ours = crops.random_resized(
                    tf.constant(photo), size, (i, 0), interpolation
                )
                assert_pils(ours, theirs)

    def test_random_interpolation(self, photos):
        """Either is drawn for each image, half of the time each, as timm's."""
        photo = tf.constant(photos[2])

        def same(seed):
            ours = crops.random_resized(photo, 16, seed, "random")
            _, rest = tf.unstack(tf.random.split(seed, 2))
            for name in FILTERS:
                either = crops.random_resized(photo, 16, rest, name)
                yield tf.reduce_all(either == ours)

        used = draw(lambda seed: list(same(seed)), seed=3, count=400)
        assert (used.sum(-1) == 1).all()
        assert 160 < used[:, 0].sum() < 240

    def test_files_as_pixels(self, photos):
        for i, photo in enumerate(photos):
            for format in ("PNG", "BMP", "JPEG"):
                file = encoded(photo, format)
                pixels = np.asarray(PIL.Image.open(io.BytesIO(file)))
                ours = crops.random_resized(tf.constant(file), 96, (i, 1))
                whole = crops.random_resized(tf.constant(pixels), 96, (i, 1))
                if format == "JPEG":
                    # Chroma at the cut's edge is interpolated without pixels
                    # outside of it.
                    inside = np.s_[2:-2, 2:-2]
                    ours, whole = ours[inside], whole[inside]
                np.testing.assert_allclose(ours, whole, atol=1)

    def test_gray_file(self, photos):
        for format in ("JPEG", "PNG"):
            file = encoded(photos[0][..., 0], format)
            y = crops.random_resized(tf.constant(file), 32, (0, 0)).numpy()
            assert y.shape == (32, 32, 3)
            np.testing.assert_array_equal(y, y[..., :1].repeat(3, -1))
            assert y.std() > 1

    def test_dataset_is_deterministic(self, photos):
        files = tf.constant([encoded(photo) for photo in photos] * 4)

        def prepare(seed):
            image = crops.random_resized(files[seed[1]], 32, seed)
            return crops.flip(image, seed)

        spec = tf.TensorSpec((32, 32, 3))
        first = assert_deterministic(prepare, len(files), spec)
        assert len(np.unique(first.mean((1, 2, 3)))) == len(files)

    def test_wrong_interpolation(self):
        image = tf.zeros((8, 8, 3), tf.uint8)
        with pytest.raises(ValueError, match=r"bilinear, bicubic.*'nearest'"):
            crops.random_resized(image, 4, (0, 0), "nearest")


class TestCentered:
    @pytest.mark.parametrize("interpolation", FILTERS)
    @pytest.mark.parametrize(
        ("resize", "size"), [(256, 224), (235, 224), (96, 96), (150, 225)]
    )
    def test_is_the_evaluation_transform(
        self, photos, resize, size, interpolation
    ):
        theirs = EvaluationTransform(
            resize, size, interpolation, mean=(0, 0, 0), std=(1, 1, 1)
        )
        for photo in [*photos, photos[0][:41], photos[1][:, :37]]:
            file = tf.constant(encoded(photo, "PNG"))
            for image in (tf.constant(photo), file):
                ours = crops.centered(image, resize, size, interpolation)
                assert_pils(ours, np.round(theirs(photo) * 255))

    def test_jpeg_is_decoded_as_pil_does(self, photos):
        for quality in (50, 90):
            file = encoded(photos[0], quality=quality)
            np.testing.assert_array_equal(
                crops.decoded(tf.constant(file)),
                PIL.Image.open(io.BytesIO(file)),
            )


class TestPadded:
    def test_every_place(self):
        image = np.arange(1, 5 * 6 * 3 + 1).reshape(5, 6, 3)
        larger = np.pad(image, ((2, 2), (2, 2), (0, 0)))
        cuts = [
            larger[top : top + 5, left : left + 6]
            for top in range(5)
            for left in range(5)
        ]
        counts = np.zeros(len(cuts))
        padded = tf.function(crops.padded)
        for i in range(500):
            y = padded(tf.constant(image), 2, tf.constant([0, i])).numpy()
            counts[[np.array_equal(y, cut) for cut in cuts]] += 1
        assert counts.sum() == 500
        assert counts.min() >= 5

    def test_shape_is_known(self):
        dataset = tf.data.Dataset.from_tensors(tf.zeros((8, 9, 3), tf.uint8))
        dataset = dataset.map(lambda x: crops.padded(x, 4, (0, 0)))
        assert dataset.element_spec == tf.TensorSpec((8, 9, 3), tf.uint8)


def test_flip():
    image = tf.reshape(tf.range(24), (2, 4, 3))
    flipped = 0
    for i in range(200):
        y = crops.flip(image, (0, i))
        same = np.array_equal(y, image)
        assert same or np.array_equal(y, image[:, ::-1])
        flipped += not same
    assert 70 < flipped < 130
