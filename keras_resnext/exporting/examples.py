"""Example scripts: one beside every exported file, to run it on an image."""

import inspect

from keras_resnext.exporting.base import Format
from keras_resnext.exporting.base import InferenceModel

_LOAD = '''\
"""Run the exported model on an image: python run_{name}.py IMAGE"""

import pathlib
import sys
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageOps


{load}'''
_READ = '''

def read(file: str) -> np.ndarray:
    """Resize and crop an image, as for the evaluation of the model."""
    image = ImageOps.exif_transpose(Image.open(file)).convert("{mode}")
    short = min(image.size)
    size = tuple({resize} * side // short for side in image.size)
    image = image.resize(size, Image.Resampling.{filter})
    width, height = {width}, {height}
    # Half a pixel is rounded as in torchvision.
    margins = (size[0] - width) / 2, (size[1] - height) / 2
    left, top = (max(round(margin), int(margin)) for margin in margins)
    image = image.crop((left, top, left + width, top + height))
    x = np.array(image).reshape(1, height, width, {channels})
'''
_NORMALIZE = """\
    mean, std = np.array({statistics}, "float32")
    x = (x.astype("float32") / 255 - mean) / std
"""
_TRANSPOSE = """\
    x = x.transpose(0, 3, 1, 2).copy()
"""
_RUN = """\
    return x


if __name__ == "__main__":
    folder = pathlib.Path(__file__).parent
    outputs = load(folder / "{file}")(read(sys.argv[1]))
"""
_LABELS = """\
    labels = (folder / "labels.txt").read_text("utf-8").splitlines()
"""
_SCORES = """\
    (y,) = outputs.values()
    for i in y[0].argsort()[::-1][:5]:
        print(f"{{y[0][i]:8.4f}}  {{{label}}}")
"""
_SHAPES = """\
    for name, y in outputs.items():
        print(name, "of shape", y.shape)
"""


def script(format: Format, model: InferenceModel) -> str:
    """Return a script that loads an exported file without this package.

    For RGB or gray models, the script runs on an image and prints the outputs.
    """
    input_spec = model.input_spec
    text = _LOAD.format(name=format.name, load=inspect.getsource(format.load))
    if not input_spec.takes_images:
        return text
    transform = input_spec.transform
    height, width = input_spec.sizes[0]
    text += _READ.format(
        mode="L" if input_spec.channels == 1 else "RGB",
        # Scaled if the model's size is not the transform's.
        resize=transform.resize * max(height, width) // transform.crop_size,
        filter=transform.interpolation.upper(),
        width=width,
        height=height,
        channels=input_spec.channels,
    )
    if not input_spec.pixels:
        statistics = (transform.mean, transform.std)
        text += _NORMALIZE.format(statistics=statistics)
        if input_spec.data_format == "channels_first":
            text += _TRANSPOSE
    text += _RUN.format(file=format.file)
    if {"probabilities", "logits"}.isdisjoint(model.wrapped.output):
        return text + _SHAPES
    if model.labels is None:
        return text + _SCORES.format(label="i")
    return text + _LABELS + _SCORES.format(label="labels[i]")
