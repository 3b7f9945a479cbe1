"""Synthetic images of circles, squares and triangles, drawn on demand.

Shapes have random colors and rotations and don't overlap. Backgrounds are
color gradients with noise.
"""

import colorsys

import numpy as np
import PIL.Image
import PIL.ImageDraw

from keras_resnext.data import Dataset
from keras_resnext.data import IndexedSplit

LABELS = ("circle", "square", "triangle")
CORNERS = (90, 4, 3)
MOST = 5
# Diameters of their circumscribed circles, as shares of an image's side.
SMALLEST, LARGEST = 0.14, 0.5
NOISE = 12
# Attempts to place a shape before it is left out.
TRIALS = 20
VALIDATION_SHARE = 6


def dataset(count: int, size: int, seed: int) -> Dataset:
    """Make a dataset of training images, and a sixth as many for validation.

    Args:
        count: Training images.
        size: Height and width, in pixels.
        seed: Seed of the images.
    """
    splits = {
        "train": draw(count, size, (seed, 0)),
        "validation": draw(-(-count // VALIDATION_SHARE), size, (seed, 1)),
    }
    return Dataset("shapes", list(LABELS), splits)


def draw(count: int, size: int, seed: tuple[int, ...]) -> IndexedSplit:
    """Draw images; each depends only on the seed and its number.

    Returns:
        Their pixels, and their objects as described in `data`.
    """
    images = np.empty((count, size, size, 3), np.uint8)
    objects = np.full((count, MOST, 6), -1, np.float32)
    for number in range(count):
        chance = np.random.default_rng((*seed, number))
        images[number], found = _image(chance, size)
        objects[number, : len(found)] = found
    return IndexedSplit(images, objects)


def _image(
    chance: np.random.Generator, size: int
) -> tuple[np.ndarray, list[list[float]]]:
    # Backgrounds are dull and shapes bright, so that they can be seen.
    ends = [_color(chance, (0, 0.35), (0.15, 0.6)) for _ in range(2)]
    angle = chance.uniform(0, 2 * np.pi)
    across = np.linspace(-0.7, 0.7, size)
    along = np.cos(angle) * across + np.sin(angle) * across[:, None]
    share = np.clip(0.5 + along / 1.4, 0, 1)[..., None]
    pixels = ends[0] * (1 - share) + ends[1] * share

    objects: list[list[float]] = []
    taken = np.zeros((size, size), bool)
    for _ in range(chance.integers(1, MOST + 1)):
        for _ in range(TRIALS):
            kind = int(chance.integers(len(LABELS)))
            drawn, (left, top, right, bottom) = _shape(
                chance, size, CORNERS[kind]
            )
            if not taken[top:bottom, left:right].any():
                break
        else:
            continue
        taken[top:bottom, left:right] = True
        color = _color(chance, (0.6, 1), (0.75, 1))
        pixels[np.asarray(drawn, bool)] = color
        box = np.array([left, top, right, bottom]) / size
        objects.append([*box, kind, 0])
    pixels += chance.normal(0, NOISE, pixels.shape)
    return np.clip(pixels, 0, 255).astype(np.uint8), objects


def _shape(
    chance: np.random.Generator, size: int, corners: int
) -> tuple[PIL.Image.Image, tuple[int, int, int, int]]:
    """Return the mask of a shape within the image, and its box."""
    radius = size * chance.uniform(SMALLEST, LARGEST) / 2
    center = chance.uniform(radius, size - 1 - radius, 2)
    turned = chance.uniform(0, 2 * np.pi)
    angles = turned + 2 * np.pi * np.arange(corners) / corners
    points = center + radius * np.stack([np.cos(angles), np.sin(angles)], -1)
    mask = PIL.Image.new("1", (size, size))
    PIL.ImageDraw.Draw(mask).polygon([tuple(each) for each in points], fill=1)
    box = mask.getbbox()
    assert box is not None
    return mask, box


def _color(
    chance: np.random.Generator,
    saturation: tuple[float, float],
    value: tuple[float, float],
) -> np.ndarray:
    hue = chance.uniform()
    return 255 * np.array(
        colorsys.hsv_to_rgb(
            hue, chance.uniform(*saturation), chance.uniform(*value)
        )
    )
