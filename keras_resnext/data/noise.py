"""Noise in place of images, for dry runs of training."""

import pathlib

import numpy as np
import PIL.Image

from keras_resnext.data.datasets import Dataset
from keras_resnext.data.datasets import IndexedSplit
from keras_resnext.training.recipe import Recipe

CLASSES = 10
# Height and width of a photograph of ImageNet, in pixels.
HEIGHT, WIDTH = 375, 500


def noise(recipe: Recipe, batch_size: int, folder: pathlib.Path) -> Dataset:
    """Make images for two steps of training.

    Args:
        recipe: Recipe, which takes pixels to pad or a JPEG file to crop.
        batch_size: Number of images per step.
        folder: Folder for the file, created if needed.

    Returns:
        A `Dataset` of training, validation and test images.
    """
    count = 2 * batch_size
    random = np.random.default_rng(0)
    size = recipe.train_size
    if recipe.crop == "padded":
        contents = random.integers(0, 256, (count, size, size, 3), np.uint8)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "noise.jpg"
        pixels = random.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
        PIL.Image.fromarray(pixels).save(path)
        contents = np.full(count, str(path))
    images = IndexedSplit(contents, np.arange(count) % CLASSES)
    labels = [f"class {number}" for number in range(CLASSES)]
    splits = dict.fromkeys(("train", "validation", "test"), images)
    return Dataset("noise", labels, splits)
