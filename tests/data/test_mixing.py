"""Mixup and cutmix, against timm's and torchvision's."""

import operator

import numpy as np
import pytest
import tensorflow as tf
from draws import DRAWS
from draws import assert_same_distribution
from draws import draw
from torch_helpers import import_torchvision

from keras_resnext.data import mixing

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def batch():
    """Six plain images of different colors, and their labels."""
    labels = np.eye(6, dtype="float32")
    images = np.arange(1, 7, dtype="float32")
    return images[:, None, None, None] * np.ones(
        (6, 24, 32, 3), "float32"
    ), labels


def kept(batch, labels):
    """Return the share that each image kept, according to its label."""
    share = labels.numpy()[0, 0]
    partners = batch[1][::-1]
    expected = share * batch[1] + (1 - share) * partners
    np.testing.assert_allclose(labels, expected, atol=1e-6)
    return share


def test_mixup(batch):
    shares = []
    for i in range(20):
        images, labels = mixing.mix(*batch, (0, i), mixup=1.0, cutmix=0.0)
        share = kept(batch, labels)
        expected = share * batch[0] + (1 - share) * batch[0][::-1]
        np.testing.assert_allclose(images, expected, rtol=1e-5)
        shares.append(share)
    assert len(set(shares)) == 20


def test_cutmix(batch):
    for i in range(20):
        images, labels = mixing.mix(*batch, (0, i), mixup=0.0)
        share = kept(batch, labels)
        taken = (images.numpy() != batch[0])[0, ..., 0]
        for j in range(6):
            expected = np.where(taken[..., None], batch[0][5 - j], batch[0][j])
            np.testing.assert_array_equal(images[j], expected)
        np.testing.assert_array_equal(
            taken, taken.any(1)[:, None] & taken.any(0)
        )
        assert abs(1 - share - taken.mean()) < 1e-6


def test_neither(batch):
    images, labels = mixing.mix(*batch, (0, 0), mixup=0.0, cutmix=0.0)
    np.testing.assert_array_equal(images, batch[0])
    np.testing.assert_array_equal(labels, batch[1])


def test_every_other_batch(batch):
    whole = draw(
        lambda seed: [
            tf.reduce_all(
                tf.math.floor(mixing.mix(*batch, seed, mixup=1.0)[0])
                == mixing.mix(*batch, seed, mixup=1.0)[0]
            )
        ],
        seed=0,
        count=1000,
    )
    assert abs(whole.mean() - 0.5) < 0.05


@pytest.mark.parametrize("drop_remainder", [True, False])
def test_dataset_is_deterministic(batch, drop_remainder):
    def mix(i, batch):
        return mixing.mix(*batch, tf.stack([0, tf.cast(i, tf.int32)]))

    def run(parallel):
        dataset = tf.data.Dataset.from_tensor_slices(batch).repeat(5)
        dataset = dataset.batch(4, drop_remainder=drop_remainder)
        dataset = dataset.enumerate().map(mix, parallel)
        size = 4 if drop_remainder else None
        assert dataset.element_spec == (
            tf.TensorSpec((size, 24, 32, 3)),
            tf.TensorSpec((size, 6)),
        )
        return list(dataset.as_numpy_iterator())

    for first, second in zip(run(None), run(3), strict=True):
        for one, other in zip(first, second, strict=True):
            np.testing.assert_array_equal(one, other)


def test_dtypes(batch):
    images = tf.cast(batch[0], tf.float16)
    for alphas in ((1.0, 0.0), (0.0, 1.0), (1.0, 1.0)):
        mixed, labels = mixing.mix(images, batch[1], (0, 0), *alphas)
        assert (mixed.dtype, labels.dtype) == (tf.float16, tf.float32)


def test_negative_alpha(batch):
    with pytest.raises(ValueError, match=r"mixup=0.2, cutmix=-1"):
        mixing.mix(*batch, (0, 0), cutmix=-1)


@pytest.mark.parity
class TestParity:
    @pytest.fixture(autouse=True)
    def seeded(self):
        import_torchvision()
        np.random.seed(0)

    @pytest.mark.parametrize("alpha", [0.1, 0.2, 1.0])
    def test_share_of_mixup(self, alpha):
        from timm.data.mixup import Mixup

        theirs = Mixup(mixup_alpha=alpha, cutmix_alpha=0)
        theirs = [theirs._params_per_batch()[0] for _ in range(DRAWS)]
        ours = draw(lambda seed: [mixing.random_share(alpha, seed)], 3)
        assert_same_distribution(ours[:, 0], theirs)

    @pytest.mark.parametrize("alpha", [0.2, 1.0])
    @pytest.mark.parametrize("shape", [(160, 160), (24, 33)])
    def test_boxes_of_cutmix(self, shape, alpha):
        from timm.data.mixup import cutmix_bbox_and_lam

        theirs = np.array(
            [
                cutmix_bbox_and_lam((3, *shape), np.random.beta(alpha, alpha))[
                    0
                ]
                for _ in range(DRAWS)
            ]
        )
        ours = draw(lambda seed: mixing.random_cut(*shape, seed, alpha), 3)
        for of in (
            lambda box: (box[1] - box[0]) * (box[3] - box[2]),
            *map(operator.itemgetter, range(4)),
        ):
            assert_same_distribution(of(ours.T), of(theirs.T))

    def test_blend_is_timms(self, batch):
        """With the same share, image and label equal timm's."""
        import torch
        from timm.data.mixup import Mixup

        reference = Mixup(1, 0, label_smoothing=0, num_classes=6)
        for i in range(5):
            images, labels = mixing.mix(*batch, (0, i), mixup=1, cutmix=0)
            share = float(labels[0, 0])
            reference._params_per_batch = lambda share=share: (share, 0)
            x, y = reference(
                torch.tensor(batch[0]).permute(0, 3, 1, 2), torch.arange(6)
            )
            x = x.permute(0, 2, 3, 1)
            np.testing.assert_allclose(images, x, rtol=1e-5)
            np.testing.assert_allclose(labels, y, atol=1e-6)
