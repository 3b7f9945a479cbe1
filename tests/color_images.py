"""Folder of small images of two colors, to learn in a few steps."""

import pathlib

import numpy as np
import PIL.Image

COUNTS = {"train": 24, "test": 11}


def save(folder: pathlib.Path, size: int = 32) -> pathlib.Path:
    """Write red and blue images with noise, and return the folder."""
    noise = np.random.default_rng(0)
    for split, count in COUNTS.items():
        for number in range(count):
            label = ("blue", "red")[number % 2]
            pixels = noise.integers(0, 120, (size, size, 3), np.uint8)
            pixels[..., 0 if label == "red" else 2] += 120
            path = folder / split / label / f"{number:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            PIL.Image.fromarray(pixels).save(path)
    return folder
