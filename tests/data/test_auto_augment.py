"""The policies against torchvision's and timm's own tables and draws."""

import inspect

import numpy as np
import PIL.Image
import pytest
import scipy.stats
import tensorflow as tf
from draws import assert_deterministic
from draws import assert_same_distribution
from draws import draw
from torch_helpers import import_torchvision

from keras_resnext.data import auto_augment
from keras_resnext.data import operations

pytestmark = pytest.mark.once

FILL = (124, 116, 104)


@pytest.fixture(scope="module")
def small(photos):
    """Large enough that no two operations give the same."""
    return np.ascontiguousarray(photos[0][60:88, 60:96])


@pytest.mark.parametrize(
    ("policy", "dtype"),
    [
        (auto_augment.trivial_augment_wide, "uint8"),
        (lambda x, seed: auto_augment.rand_augment(x, 7, seed), "float32"),
    ],
    ids=["trivial_augment_wide", "rand_augment"],
)
def test_dataset_is_deterministic(small, policy, dtype):
    image = tf.constant(small, dtype)
    first = assert_deterministic(
        lambda seed: policy(image, seed), 40, tf.TensorSpec(small.shape)
    )
    np.testing.assert_array_equal(first[9], policy(image, [3, 9]))
    assert len(np.unique(first, axis=0)) > 20
    assert first.min() >= 0
    assert first.max() <= 255
    np.testing.assert_array_equal(first, np.round(first))


def test_wrong_magnitude(small):
    with pytest.raises(ValueError, match=r"\[0, 10\].*11"):
        auto_augment.rand_augment(tf.constant(small), 11, (0, 0))


@pytest.mark.parity
def test_trivial_augment_wide_is_torchvisions(small):
    transforms = import_torchvision().transforms
    bilinear = transforms.InterpolationMode.BILINEAR
    reference = transforms.TrivialAugmentWide(interpolation=bilinear)
    apply = inspect.getmodule(type(reference))._apply_op
    image = PIL.Image.fromarray(small)
    names, theirs = [], []
    for name, (levels, signed) in reference._augmentation_space(31).items():
        for level in np.atleast_1d(levels):
            for sign in (1, -1)[: 1 + signed]:
                y = apply(image, name, sign * float(level), bilinear, None)
                names.append(name)
                theirs.append(np.asarray(y, "float32"))
    theirs = np.stack(theirs).reshape(len(theirs), -1)

    dataset = tf.data.Dataset.range(500).map(
        lambda i: auto_augment.trivial_augment_wide(
            small, tf.stack([0, tf.cast(i, tf.int32)])
        )
    )
    found = set()
    for y in dataset.as_numpy_iterator():
        distances = np.abs(theirs - y.ravel()).mean(-1)
        nearest = np.argmin(distances)
        assert distances[nearest] < 0.05
        found.add(nearest)
    # Of 560 a draw of 500 finds many, of each kind, and both ends.
    assert {names[i] for i in found} == set(names)
    assert len(found) > 200


@pytest.mark.parity
@pytest.mark.parametrize("sign", [-1, 1])
def test_rand_augments_operations_are_timms(small, sign, monkeypatch):
    import_torchvision()
    from timm.data import auto_augment as timms

    monkeypatch.setattr(timms, "_randomly_negate", lambda v: sign * v)
    # Whichever pixel is taken: the share of one that PIL and TensorFlow round
    # differently is tested with the operations.
    hparams = {
        "img_mean": FILL,
        "interpolation": PIL.Image.Resampling.BILINEAR,
    }
    names = timms.rand_augment_choices("", increasing=True)
    image = PIL.Image.fromarray(small)
    # At 10 no bit would be left, which today's PIL refuses.
    for level in np.linspace(0, 9.99, 12):
        ours = auto_augment.increasing(
            tf.constant(small, tf.float32),
            tf.constant(level / 10, tf.float32),
            tf.constant(sign, tf.float32),
            FILL,
        )
        assert list(ours) == names
        for name, change in ours.items():
            operation = timms.AugmentOp(name, 1.0, level, hparams)
            theirs = np.asarray(operation(image), "float32")
            assert (np.abs(change() - theirs) > 1).mean() < 0.005, name


@pytest.mark.parity
def test_rand_augments_draws_are_timms(monkeypatch):
    """Both occur equally often, with equal strength, in one gray value."""
    import_torchvision()
    from timm.data import auto_augment as timms

    theirs = timms.rand_augment_transform("rand-m7-mstd0.5-inc1", {})
    np.random.seed(0)
    timms.random.seed(0)
    gray = np.full((1, 1, 3), 93, "uint8")
    theirs = [
        np.asarray(theirs(PIL.Image.fromarray(gray)))[0, 0, 0]
        for _ in range(5000)
    ]
    # One pixel has no neighbors; in both directions it becomes the fill.
    monkeypatch.setattr(operations, "sharpness", lambda x, factor: x)
    ours = draw(
        lambda seed: [
            auto_augment.rand_augment(gray, 7, seed, (128,) * 3)[0, 0, 0]
        ],
        seed=0,
        count=5000,
    )
    assert_same_distribution(ours[:, 0], theirs)
    unchanged = [np.count_nonzero(np.asarray(x) == 93) for x in (ours, theirs)]
    table = [unchanged, [5000 - each for each in unchanged]]
    assert scipy.stats.chi2_contingency(table).pvalue > 0.01
