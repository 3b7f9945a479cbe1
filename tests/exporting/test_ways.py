"""Files of models that contain ours, run by each format's own runtime.

They take what the models take, and return what the models return.
"""

import keras
import numpy as np
import pytest
import ways

import keras_resnext
from keras_resnext.exporting import formats

BACKEND = keras.backend.backend()
POSSIBLE = [
    each
    for each in formats.FORMATS.values()
    if BACKEND in each.writers and not each.missing(BACKEND)
]
FOLDER = "saved_model" if BACKEND == "jax" else "openvino"
QUICK = "onnx" if BACKEND == "tensorflow" else FOLDER
EXACT = [each.name for each in POSSIBLE if (each.tolerance or 1) <= 1e-4]
REFUSED = ("mixed_precision", "two_inputs")

# Names of classes and statistics are not known, and not needed here.
pytestmark = [
    # Each file is run below.
    pytest.mark.usefixtures("not_validated"),
    pytest.mark.filterwarnings(
        "ignore:The (names|normalization) of:UserWarning"
    ),
    pytest.mark.filterwarnings(
        r"ignore:\s*Warning. tf.lite.Interpreter is deprecated:UserWarning"
    ),
]


def saved_model(path, x):
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    outputs = loaded.signatures["serving_default"](images=x)
    return {name: y.numpy() for name, y in outputs.items()}


def tflite(path, x):
    import tensorflow as tf

    runner = tf.lite.Interpreter(str(path)).get_signature_runner()
    return runner(images=x)


def onnx(path, x):
    import onnxruntime

    session = onnxruntime.InferenceSession(path)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"images": x}), strict=True))


def openvino(path, x):
    import openvino

    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    model = openvino.compile_model(path / "model.xml", "CPU", exact)
    return {y.any_name: array for y, array in model({"images": x}).items()}


def torch(path, x):
    import torch

    program = torch.export.load(path).module()
    outputs = program(torch.from_numpy(x))
    return {name: y.detach().numpy() for name, y in outputs.items()}


RUN = {
    function.__name__: function
    for function in (saved_model, tflite, onnx, openvino, torch)
}


def check_files(model, names, folder, like=None):
    """Write files that take what a model takes, and compare what they return.

    Args:
        model: The model.
        names: Names of formats.
        folder: The folder to write to.
        like: A model that returns the same under the file's expected names;
            `None` takes `model`, and any name for its only output.
    """
    keras_resnext.set_data_config(model, size=ways.SIZE)
    keras_resnext.export(model, folder, names, include_preprocessing=False)
    compare(like or model, names, folder)


def compare(model, names, folder, tolerance=1e-4):
    """Compare what files return with what a model returns."""
    random = np.random.default_rng(1)
    shape = (3, ways.SIZE, ways.SIZE, 3)
    x = random.uniform(0, 255, shape).astype("float32")
    outputs = ways.predict(model, x)
    for name in names:
        each = formats.FORMATS[name]
        found = RUN[name.partition("_float")[0]](folder / each.file, x)
        named = isinstance(outputs, dict)
        right = outputs if named else {next(iter(found)): outputs}
        assert sorted(found) == sorted(right), name
        for key, y in right.items():
            scale = max(1, np.abs(y).max())
            np.testing.assert_allclose(
                found[key] / scale, y / scale, atol=tolerance, err_msg=name
            )


WRITTEN = [way for way in ways.GRAPHS if way not in REFUSED]


@pytest.mark.parametrize(
    ("way", "names"),
    [
        *((way, [QUICK]) for way in ("augmented", "sequential")),
        *(pytest.param(way, EXACT, marks=pytest.mark.slow) for way in WRITTEN),
    ],
)
def test_files_return_what_the_model_returns(way, names, tiny, tmp_path):
    check_files(ways.build(way, "plain", tiny), names, tmp_path)


def test_many_outputs_keep_their_names(tiny, tmp_path):
    model = ways.build("flat", "logits", tiny)
    outputs = {f"times_{i}": model.output * i for i in range(2, 17)}
    check_files(keras.Model(model.input, outputs), [FOLDER], tmp_path)


@pytest.mark.skipif(BACKEND == "jax", reason="JAX writes no ONNX")
def test_onnx_holds_tensors_that_are_no_weights(tiny, tmp_path):
    """Statistics of `Normalization`, and tensors that a user computes with."""
    x = inputs = ways.image()
    normalize = keras.layers.Normalization()
    normalize.adapt(ways.PIXELS.astype("float32"))
    x = normalize(x) * keras.ops.convert_to_tensor([1.0, 2.0, 3.0])
    model = keras.Model(inputs, ways.backbone(tiny)(x))
    check_files(model, ["onnx"], tmp_path)


def test_outputs_have_the_names_of_any_structure(tiny, tmp_path):
    """Dictionaries of lists, and the only element of a list."""
    inputs = ways.image()
    x = ways.backbone(tiny)(inputs)
    a, b, c = (keras.layers.Dense(3)(x) for _ in range(3))
    model = keras.Model(inputs, {"z": [a, b], "c": c})
    flat = keras.Model(inputs, {"z_0": a, "z_1": b, "c": c})
    check_files(model, [QUICK], tmp_path / "model", like=flat)
    single = keras.Model([inputs], [a])
    named = keras.Model(inputs, {"logits": a})
    check_files(single, [QUICK], tmp_path / "single", like=named)


def test_mixed_precision_is_exported_as_the_refusal_says(tiny, tmp_path):
    keras.config.set_dtype_policy("mixed_float16")
    model = ways.nested(tiny, ways.HEADS["plain"]())
    keras.config.set_dtype_policy("float32")
    with pytest.raises(ValueError, match=r"inference\(model, 'float32'\)"):
        keras_resnext.export(model, tmp_path, [QUICK])
    made = keras_resnext.optimize_for_inference(model, "float32")
    check_files(made, [QUICK], tmp_path)
    compare(model, [QUICK], tmp_path, tolerance=0.05)
