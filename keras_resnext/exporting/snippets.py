"""A ready-to-run script beside every artefact."""

from keras_resnext.exporting.entrance import Entrance
from keras_resnext.exporting.formats import Format

_HEAD = '''\
"""Says what a picture shows: python run_{name}.py PICTURE"""
import pathlib, sys
import numpy as np
{imports}
from PIL import Image, ImageOps

here = pathlib.Path(__file__).parent
picture = ImageOps.exif_transpose(Image.open(sys.argv[1])).convert("{mode}")
picture = ImageOps.fit(picture, {size}, Image.Resampling.{filter}, {bleed:.4f})
x = np.asarray(picture, "uint8").reshape({shape})
'''
_NORMALIZE = """\
x = ((x / 255 - np.array({mean})) / np.array({std})).astype("float32")
"""
_TRANSPOSE = """\
x = x.transpose(0, 3, 1, 2).copy()
"""
_CLASSES = """\
(y,) = outputs.values()
labels = (here / "labels.txt").read_text("utf-8").splitlines()
for i in y[0].argsort()[::-1][:5]:
    print(f"{y[0][i]:8.4f}  {labels[i]}")
"""
_NUMBERS = """\
(y,) = outputs.values()
for i in y[0].argsort()[::-1][:5]:
    print(f"{y[0][i]:8.4f}  {i}")
"""
_MAPS = """\
for name, y in outputs.items():
    print(name, "of shape", y.shape)
"""

_IMPORTS = {
    "saved_model": "import tensorflow as tf",
    "tflite": "import tensorflow as tf",
    "onnx": "import onnxruntime",
    "openvino": "import openvino",
    "torch": "import torch",
}
_RUNS = {
    "saved_model": """\
model = tf.saved_model.load(str(here / "{file}"))
outputs = model.signatures["serving_default"]({entry}=x)
outputs = {{name: y.numpy() for name, y in outputs.items()}}
""",
    "tflite": """\
model = tf.lite.Interpreter(str(here / "{file}")).get_signature_runner()
outputs = model({entry}=x)
""",
    "onnx": """\
model = onnxruntime.InferenceSession(here / "{file}")
names = [output.name for output in model.get_outputs()]
outputs = dict(zip(names, model.run(names, {{"{entry}": x}})))
""",
    # On many processors it would compute in bfloat16 unless told.
    "openvino": """\
exact = {{"INFERENCE_PRECISION_HINT": "f32"}}  # without: bfloat16, faster
model = openvino.compile_model(here / "{file}/model.xml", "CPU", exact)
outputs = {{y.any_name: array for y, array in model(x).items()}}
""",
    "torch": """\
model = torch.export.load(here / "{file}").module()
outputs = model(torch.from_numpy(x))
outputs = {{name: y.detach().numpy() for name, y in outputs.items()}}
""",
}


def snippet(
    made: Format, door: Entrance, classifies: bool, has_labels: bool
) -> str:
    """The script of an artefact.

    Args:
        made: Its format.
        door: What stands before the network.
        classifies: Whether its only output is scores of classes.
        has_labels: Whether there is a `labels.txt`.
    """
    height, width = door.sizes[0]
    transform = door.transform
    # What a crop of the resized picture leaves out, on each of four sides.
    bleed = max(0.0, (1 - transform.crop / transform.resize) / 2)
    text = _HEAD.format(
        name=made.name,
        imports=_IMPORTS[made.runtime],
        mode="L" if door.channels == 1 else "RGB",
        size=(width, height),
        filter=transform.interpolation.upper(),
        bleed=bleed,
        shape=(1, height, width, door.channels),
    )
    if not door.pixels:
        mean = tuple(transform.mean[: door.channels])
        std = tuple(transform.std[: door.channels])
        text += _NORMALIZE.format(mean=mean, std=std)
        if door.data_format == "channels_first":
            text += _TRANSPOSE
    text += _RUNS[made.runtime].format(file=made.file, entry=door.name)
    if not classifies:
        return text + _MAPS
    return text + (_CLASSES if has_labels else _NUMBERS)
