"""Images and labels of a recipe."""

import dataclasses

import numpy as np
import PIL.Image
import pytest

import keras_resnext
from keras_resnext.data import batches
from keras_resnext.data.datasets import Dataset
from keras_resnext.data.datasets import IndexedSplit
from keras_resnext.training import recipes

pytestmark = pytest.mark.once

SIZE = 32
NOISE = np.random.default_rng(0).integers(0, 256, (10, SIZE, SIZE, 3), np.uint8)
IMAGES = IndexedSplit(NOISE, np.arange(10) % 3)


def dataset_of(images):
    splits = {"train": images, "validation": images}
    return Dataset("noise", ["a", "b", "c"], splits)


SMALL = ("evaluation_size=32", "evaluation_resize=36", "train_size=32")


def trained_on(recipe, batch_size=4, epoch=0, **arguments):
    found = batches.train_batches(
        dataset_of(IMAGES), recipe, batch_size, epoch=epoch, **arguments
    )
    return list(found.as_numpy_iterator())


# Between them they use every kind of augmentation.
VARIED = ("paper", "cifar_paper", "torchvision_v2_repeated", "timm_ra")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in VARIED else pytest.mark.slow)
        for name in recipes.list_recipes()
    ],
)
def test_every_recipe(name):
    recipe = recipes.get(name, *SMALL)
    (images, labels), *rest = trained_on(recipe)
    assert images.shape == (4, SIZE, SIZE, 3)
    assert images.dtype == labels.dtype == np.float32
    assert np.isfinite(images).all()
    np.testing.assert_allclose(labels.sum(-1), 1, rtol=1e-5)
    smoothed = recipe.label_smoothing / 3
    assert labels.min() >= smoothed - 1e-6
    # An epoch goes on where it was.
    assert rest
    found = trained_on(recipe, first_step=1)
    for parts, expected in zip(found, rest, strict=True):
        for part, other in zip(parts, expected, strict=True):
            np.testing.assert_array_equal(part, other)


def test_epochs_differ():
    recipe = recipes.get("cifar_paper")
    first, other = (trained_on(recipe, 10, epoch) for epoch in (0, 1))
    assert (first[0][0] != other[0][0]).any()


def test_padding_has_the_mean_color():
    recipe = recipes.get("cifar_paper", horizontal_flip=False)
    images = np.concatenate([each for each, _ in trained_on(recipe)])
    border = np.concatenate([images[:, 0].ravel(), images[:, :, 0].ravel()])
    assert (border == 0).any()


def test_pixels_are_normalized():
    recipe = recipes.get("cifar_paper", evaluation_resize=SIZE)
    ((images, labels, weights),) = batches.evaluation_batches(
        dataset_of(IMAGES), recipe, batch_size=10
    ).as_numpy_iterator()
    mean = np.array([125.3, 123.0, 113.9])
    std = np.array([63.0, 62.1, 66.7])
    np.testing.assert_allclose(images, (NOISE - mean) / std, atol=1e-5)
    np.testing.assert_array_equal(labels.argmax(-1), IMAGES.classes)
    assert weights.tolist() == [1] * 10


@pytest.mark.parametrize("workers", [1, 2])
def test_evaluation_counts_each_once(workers):
    recipe = recipes.get("cifar_paper")
    counts = np.zeros(3)
    steps = set()
    for worker in range(workers):
        found = list(
            batches.evaluation_batches(
                dataset_of(IMAGES),
                recipe,
                batch_size=4,
                worker=worker,
                workers=workers,
            ).as_numpy_iterator()
        )
        steps.add(len(found))
        for images, labels, weights in found:
            assert len(images) == 4 // workers
            counts += (labels * weights[:, None]).sum(0)
    assert steps == {3}
    np.testing.assert_array_equal(counts, np.bincount(IMAGES.classes))


def test_evaluation_is_the_checkpoints(tmp_path):
    image = PIL.Image.fromarray(
        np.random.default_rng(1).integers(0, 256, (57, 91, 3), np.uint8)
    )
    path = tmp_path / "noise.png"
    image.save(path)
    recipe = recipes.get("a2", evaluation_size=32, evaluation_resize=36)
    files = IndexedSplit(np.array([str(path)]), np.array([0]))
    ((images, _, _),) = batches.evaluation_batches(
        dataset_of(files), recipe, batch_size=1
    ).as_numpy_iterator()
    transform = keras_resnext.EvaluationTransform(36, 32, "bicubic")
    # One level of 255, over the deviation.
    assert np.abs(images[0] - transform(image)).max() < 1.01 / 255 / 0.224


def test_gray_images():
    images = IndexedSplit(NOISE[..., :1], IMAGES.classes)
    recipe = recipes.get("cifar_paper", horizontal_flip=False)
    found = batches.train_batches(dataset_of(images), recipe, 5, channels=1)
    assert found.element_spec[0].shape == (5, SIZE, SIZE, 1)
    assert len(found) == 2


def test_mixed_labels_differ_by_step():
    recipe = dataclasses.replace(recipes.get("cifar_paper"), mixup=1.0)
    shares = [labels.max() for _, labels in trained_on(recipe, 2)]
    assert len(set(shares)) > 2


def test_images_that_do_not_fit_are_refused():
    recipe = recipes.get("cifar_paper")
    with pytest.raises(ValueError, match="10 training images, fewer than"):
        trained_on(recipe, 11)
    with pytest.raises(ValueError, match=r"for images of 24x24.*have 32x32"):
        trained_on(recipe.override(train_size=24))
    with pytest.raises(ValueError, match="has no test images"):
        batches.evaluation_batches(dataset_of(IMAGES), recipe, "test")
