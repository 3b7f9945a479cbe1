"""Random erasing, against torchvision's and timm's draws."""

import operator

import numpy as np
import pytest
import tensorflow as tf
from draws import assert_deterministic
from draws import assert_same_distribution
from draws import draw
from torch_helpers import import_torchvision

from keras_resnext.data import erasing

pytestmark = pytest.mark.once

COUNT = 6_000  # torchvision takes half a millisecond each


def boxes(seed, fill="mean", count=1):
    """Return the number of boxes that are drawn, and the first of them."""
    drawn = erasing.random_boxes(60, 80, seed, *erasing.STYLES[fill], count)
    return [tf.math.count_nonzero(drawn[2]), *(each[0] for each in drawn)]


def test_one_box_of_zeros():
    image = tf.ones((60, 80, 3))
    for i in range(50):
        y = erasing.erase(image, (0, i), probability=1.0).numpy()
        erased = y[..., 0] == 0
        np.testing.assert_array_equal(y, ~erased[..., None] * np.ones(3))
        rows, columns = erased.any(1), erased.any(0)
        np.testing.assert_array_equal(erased, rows[:, None] & columns)
        for line in (rows, columns):
            assert np.count_nonzero(np.diff(line.astype(int))) in (1, 2)
        assert 0.018 < erased.mean() < 0.35


@pytest.mark.parametrize("count", [1, 3])
def test_noise(count):
    image = tf.fill((60, 80, 3), 9.0)
    values, shares = [], []
    for i in range(50):
        y = erasing.erase(
            image, (0, i), probability=1.0, count=count, fill="noise"
        ).numpy()
        erased = (y != 9).all(-1)
        np.testing.assert_array_equal(y[~erased], 9)
        values.extend(y[erased].ravel())
        shares.append(erased.mean())
    assert abs(np.mean(values)) < 0.02
    assert abs(np.std(values) - 1) < 0.02
    assert max(shares) < 0.35


def test_probability():
    image = tf.ones((8, 8, 1))
    erased = draw(
        lambda seed: [
            tf.reduce_min(erasing.erase(image, seed, 0.3, (0.3, 0.3)))
        ],
        seed=0,
        count=2000,
    )
    assert abs((erased == 0).mean() - 0.3) < 0.03


def test_nothing_fits():
    image = tf.ones((4, 4, 3))
    y = erasing.erase(image, (0, 0), 1.0, scale=(1.0, 1.0))
    np.testing.assert_array_equal(y, image)


def test_dataset_is_deterministic():
    image = tf.ones((32, 32, 3), tf.float16)
    assert_deterministic(
        lambda seed: erasing.erase(image, seed, count=2, fill="noise"),
        20,
        tf.TensorSpec(image.shape, tf.float16),
    )


def test_wrong_arguments():
    with pytest.raises(ValueError, match=r"mean, noise.*'black'"):
        erasing.erase(tf.ones((8, 8, 3)), (0, 0), fill="black")
    with pytest.raises(ValueError, match="Received: 0"):
        erasing.erase(tf.ones((8, 8, 3)), (0, 0), count=0)


@pytest.mark.parity
class TestParity:
    def test_distribution_is_torchvisions(self):
        transforms = import_torchvision().transforms
        import torch

        torch.manual_seed(0)
        image = torch.empty(3, 60, 80)
        scale, ratio = transforms.RandomErasing().scale, (0.3, 3.3)
        assert transforms.RandomErasing().ratio == ratio
        theirs = [
            transforms.RandomErasing.get_params(image, scale, ratio, [0.0])[:4]
            for _ in range(COUNT)
        ]
        number, *ours = draw(boxes, 2, COUNT).T
        assert (number == 1).all()
        assert_same_boxes(np.array(ours).T, np.array(theirs))

    @pytest.mark.parametrize("count", [1, 3])
    def test_distribution_is_timms(self, count):
        """From one to `count` boxes, and the first of them."""
        import_torchvision()
        import torch
        from timm.data import random_erasing

        found = []

        class Recorder(torch.Tensor):
            def __setitem__(self, where, value):
                _, rows, columns = where
                found[-1].append(
                    (
                        *(rows.start, columns.start),
                        *(rows.stop - rows.start, columns.stop - columns.start),
                    )
                )

        random_erasing.random.seed(0)
        erase = random_erasing.RandomErasing(
            probability=1.0, mode="pixel", max_count=count, device="cpu"
        )
        image = torch.empty(3, 60, 80).as_subclass(Recorder)
        for _ in range(COUNT):
            found.append([])
            erase(image)
        number, *ours = draw(
            lambda seed: boxes(seed, "noise", count), 2, COUNT
        ).T
        theirs = np.bincount([len(each) for each in found], minlength=count + 1)
        expected = COUNT / count
        for counts in (np.bincount(number.astype(int)), theirs):
            assert counts[0] == 0
            assert np.abs(counts[1:] - expected).max() < 4 * expected**0.5
        assert_same_boxes(
            np.array(ours).T, np.array([each[0] for each in found])
        )


def assert_same_boxes(ours, theirs):
    for of in (
        lambda box: box[2] * box[3],
        lambda box: box[2] / box[3],
        *map(operator.itemgetter, range(2)),
    ):
        assert_same_distribution(of(ours.T), of(theirs.T))
