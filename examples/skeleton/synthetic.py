"""Noise in the place of pictures, to try a command with."""

import pathlib

import numpy as np
import PIL.Image

from keras_resnext.training.recipes import Recipe
from pipeline.sources import Lookup
from pipeline.sources import Source

CLASSES = 10
# Of a photograph as ImageNet has them, in pixels.
WIDTH, HEIGHT = 500, 375


def source(recipe: Recipe, batch_size: int, folder: pathlib.Path) -> Source:
    """Enough for two steps: pixels to pad, or a JPEG file to crop."""
    count = 2 * batch_size
    noise = np.random.default_rng(0)
    size = recipe.train_size
    if recipe.crop == "padded":
        contents = noise.integers(0, 256, (count, size, size, 3), np.uint8)
    else:
        path = folder / "noise.jpg"
        pixels = noise.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
        PIL.Image.fromarray(pixels).save(path)
        contents = np.full(count, str(path))
    pictures = Lookup(contents, np.arange(count) % CLASSES)
    labels = [f"class {number}" for number in range(CLASSES)]
    return Source("noise", labels, {"train": pictures, "test": pictures})
