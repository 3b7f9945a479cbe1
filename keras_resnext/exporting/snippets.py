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
labels = (here / "labels.txt").read_text("utf-8").splitlines()
for i in y[0].argsort()[::-1][:5]:
    print(f"{y[0][i]:8.4f}  {labels[i]}")
"""
_NUMBERS = """\
for i in y[0].argsort()[::-1][:5]:
    print(f"{y[0][i]:8.4f}  {i}")
"""
_MAPS = """\
print("features of shape", y.shape)
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
(y,) = model.signatures["serving_default"](**{{"{entry}": x}}).values()
y = y.numpy()
""",
    "tflite": """\
model = tf.lite.Interpreter(str(here / "{file}")).get_signature_runner()
(y,) = model(**{{"{entry}": x}}).values()
""",
    "onnx": """\
model = onnxruntime.InferenceSession(here / "{file}")
(y,) = model.run(None, {{model.get_inputs()[0].name: x}})
""",
    # On many processors it would compute in bfloat16 unless told.
    "openvino": """\
exact = {{"INFERENCE_PRECISION_HINT": "f32"}}  # without: bfloat16, faster
model = openvino.compile_model(here / "{file}/model.xml", "CPU", exact)
y = model(x)[0]
""",
    "torch": """\
model = torch.export.load(here / "{file}").module()
y = model(torch.from_numpy(x)).detach().numpy()
""",
}


def snippet(
    made: Format, door: Entrance, entry: str, rank: int, has_labels: bool
) -> str:
    """The script of an artefact.

    Args:
        made: Its format.
        door: What stands before the network.
        entry: The name of the artefact's input.
        rank: That of its output.
        has_labels: Whether there is a `labels.txt`.
    """
    height, width = door.size
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
    text += _RUNS[made.runtime].format(file=made.file, entry=entry)
    if rank != 2:
        return text + _MAPS
    return text + (_CLASSES if has_labels else _NUMBERS)
