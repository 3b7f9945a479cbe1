"""How each format is written. What is written is a folded network."""

import contextlib
import logging
import os
import pathlib
import warnings
from collections.abc import Callable
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keras_resnext.exporting.entrance import Entrance
from keras_resnext.kernels import kernels
from keras_resnext.kernels.generic import Tensor


class Writer:
    """Writes one network in many formats.

    Args:
        model: The folded network, without preprocessing.
        door: What stands before it.
        data: Pictures to quantize with, as the artefact takes them.
        scratch: An empty folder for what goes again.
    """

    def __init__(
        self,
        model: keras.Model,
        door: Entrance,
        data: np.ndarray | None,
        scratch: pathlib.Path,
    ) -> None:
        self.model = model
        self.door = door
        self.data = data
        self.scratch = scratch
        self.wrapped = door.wrapped(model, "uint8")

    def write(self, name: str, path: pathlib.Path) -> None:
        """Writes one format.

        Args:
            name: The format's.
            path: The new file or folder.
        """
        write = (
            _WRITERS.get((name, keras.backend.backend()))
            or _WRITERS[name, None]
        )
        with _quiet():
            write(self, path)

    def saved_model(self) -> pathlib.Path:
        """The SavedModel that other formats are made of."""
        path = self.scratch / "saved_model"
        if not path.exists():
            with kernels.portable():
                _write_saved_model(self, path)
        return path

    def program(self) -> Any:
        """What torch exports, for any number of pictures."""
        import torch

        class OfImages(torch.nn.Module):
            def __init__(self, model: keras.Model) -> None:
                super().__init__()
                self.model = model

            def forward(self, images: Tensor) -> dict[str, Tensor]:
                return self.model(images, training=False)

        class OfPixels(OfImages):
            def forward(self, pixels: Tensor) -> dict[str, Tensor]:
                return self.model(pixels, training=False)

        door = self.door
        module = (OfPixels if door.pixels else OfImages)(self.wrapped)
        # One picture would be taken for a constant.
        example = torch.from_numpy(door.drawn()[:2])
        shape = [None, *door.shape]
        dynamic = {
            i: torch.export.Dim.DYNAMIC for i in range(4) if not shape[i]
        }
        with torch.no_grad():
            return torch.export.export(
                module, (example,), dynamic_shapes=(dynamic,)
            )


def _write_saved_model(writer: Writer, path: pathlib.Path) -> None:
    _save(writer.wrapped, path)


def _write_saved_model_with_jax(writer: Writer, path: pathlib.Path) -> None:
    writer.wrapped.export(path, format="tf_saved_model", verbose=False)


def _save(model: keras.Model, path: pathlib.Path) -> None:
    # Keras' `Model.export` would write, and load, every weight twice:
    # https://github.com/keras-team/keras/issues/23553.
    archive = keras.export.ExportArchive()
    archive.add_endpoint("serve", model.__call__, _signature(model))
    archive.write_out(path, verbose=False)


def _signature(model: keras.Model) -> list[keras.InputSpec]:
    return [
        keras.InputSpec(each.dtype, each.shape, name=each.name)
        for each in model.inputs
    ]


def _write_tflite(writer: Writer, path: pathlib.Path) -> None:
    path.write_bytes(_converter(writer.saved_model()).convert())


def _write_tflite_float16(writer: Writer, path: pathlib.Path) -> None:
    import tensorflow as tf

    converter = _converter(writer.saved_model())
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    path.write_bytes(converter.convert())


def _write_tflite_dynamic(writer: Writer, path: pathlib.Path) -> None:
    import tensorflow as tf

    converter = _converter(writer.saved_model())
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    path.write_bytes(converter.convert())


def _write_tflite_int8(writer: Writer, path: pathlib.Path) -> None:
    import tensorflow as tf

    assert writer.data is not None
    data = writer.data
    folder = writer.saved_model()
    if writer.door.pixels:
        # The converter turns floats into integers, not integers into others.
        folder = writer.scratch / "float_pixels"
        model = writer.door.wrapped(writer.model, "float32")
        with kernels.portable():
            _save(model, folder)
        # Whatever the pictures hold, a pixel of 0 is 0 and one of 255 is 255.
        data = data.copy()
        data[0, 0, 0], data[0, -1, -1] = 0, 255

    def pictures() -> Iterator[list[np.ndarray]]:
        for i in range(len(data)):
            yield [data[i : i + 1].astype("float32")]

    converter = _converter(folder)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = pictures
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    if writer.door.pixels:
        converter.inference_input_type = tf.uint8
    path.write_bytes(converter.convert())


def _converter(folder: pathlib.Path) -> Any:
    import tensorflow as tf

    return tf.lite.TFLiteConverter.from_saved_model(str(folder))


def _write_onnx(writer: Writer, path: pathlib.Path) -> None:
    import tensorflow as tf
    import tf2onnx
    from tensorflow.python.framework import convert_to_constants

    (images,) = writer.wrapped.inputs
    signature = [tf.TensorSpec(images.shape, images.dtype)]
    with kernels.portable():
        traced = tf.function(writer.wrapped).get_concrete_function(
            *signature, training=False
        )
    # Frozen here: tf2onnx takes constants that a layer holds as tensors, such
    # as the statistics of `Normalization`, for inputs.
    frozen = convert_to_constants.convert_variables_to_constants_v2(
        traced, lower_control_flow=False
    )
    tf2onnx.convert.from_graph_def(
        frozen.graph.as_graph_def(),
        input_names=[each.name for each in frozen.inputs],
        output_names=[each.name for each in frozen.outputs],
        output_path=str(path),
    )
    _pad_within_pooling(path)
    _name(writer, path)


def _name(writer: Writer, path: pathlib.Path) -> None:
    """Give an ONNX file's input, outputs and dimensions their names."""
    import onnx

    model = onnx.load(path)
    graph = model.graph
    # Keras, as its trees do, orders dictionaries by their keys.
    outputs = sorted(writer.wrapped.output)
    renamed = dict(
        zip([each.name for each in graph.output], outputs, strict=True)
    )
    renamed[graph.input[0].name] = writer.door.name
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [renamed.get(name, name) for name in names]
    for each in (*graph.input, *graph.output, *graph.value_info):
        each.name = renamed.get(each.name, each.name)
    for each in (*graph.input, *graph.output):
        dims = each.type.tensor_type.shape.dim
        dims[0].dim_param = "batch"
        for axis in range(1, len(dims)):
            if not dims[axis].HasField("dim_value"):
                dims[axis].dim_param = f"{each.name}_{axis}"
    onnx.save(model, path)


def _pad_within_pooling(path: pathlib.Path) -> None:
    """Lets maximum pooling of an ONNX file see to its padding.

    What TensorFlow pads is never the largest: pixels that the window holds
    anyway, or zeros behind a ReLU (`kernels.tensorflow.max_pool2d`). To ONNX
    padding is nothing at all, which costs nothing.
    """
    import onnx

    model = onnx.load(path)
    graph = model.graph
    reflect = onnx.helper.make_attribute("mode", "reflect")
    positive = {node.output[0] for node in graph.node if node.op_type == "Relu"}
    pads = {
        node.output[0]: node
        for node in graph.node
        if node.op_type == "Pad"
        and (reflect in node.attribute or node.input[0] in positive)
    }
    constants = {each.name: each for each in graph.initializer}
    for pool in graph.node:
        if pool.op_type != "MaxPool" or pool.input[0] not in pads:
            continue
        pad = pads[pool.input[0]]
        # Before and after each axis: pictures, channels, height and width.
        sizes = onnx.numpy_helper.to_array(constants[pad.input[1]]).tolist()
        pool.attribute.append(
            onnx.helper.make_attribute("pads", sizes[2:4] + sizes[6:8])
        )
        pool.input[0] = pad.input[0]
        graph.node.remove(pad)
    onnx.save(model, path)


def _write_onnx_with_torch(writer: Writer, path: pathlib.Path) -> None:
    import torch

    torch.onnx.export(
        writer.program(),
        f=path,
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    _name(writer, path)


def _write_openvino(writer: Writer, path: pathlib.Path) -> None:
    import openvino

    # Its outputs have their names already, in no order.
    _save_openvino(writer, openvino.convert_model(writer.saved_model()), path)


def _write_openvino_with_torch(writer: Writer, path: pathlib.Path) -> None:
    import openvino

    model = openvino.convert_model(writer.program())
    model.reshape([-1, *(size or -1 for size in writer.door.shape)])
    names = sorted(writer.wrapped.output)
    for port, name in zip(model.outputs, names, strict=True):
        port.set_names({name})
    _save_openvino(writer, model, path)


def _save_openvino(writer: Writer, model: Any, path: pathlib.Path) -> None:
    import openvino

    model.inputs[0].set_names({writer.door.name})
    path.mkdir()
    # float16 weights, the default, would be another format.
    openvino.save_model(model, path / "model.xml", compress_to_fp16=False)


def _write_torch(writer: Writer, path: pathlib.Path) -> None:
    import torch

    torch.export.save(writer.program(), path)


_WRITERS: dict[
    tuple[str, str | None], Callable[[Writer, pathlib.Path], None]
] = {
    ("saved_model", "tensorflow"): _write_saved_model,
    ("saved_model", "jax"): _write_saved_model_with_jax,
    ("tflite", None): _write_tflite,
    ("tflite_float16", None): _write_tflite_float16,
    ("tflite_dynamic", None): _write_tflite_dynamic,
    ("tflite_int8", None): _write_tflite_int8,
    ("onnx", "tensorflow"): _write_onnx,
    ("onnx", "torch"): _write_onnx_with_torch,
    ("openvino", "tensorflow"): _write_openvino,
    ("openvino", "torch"): _write_openvino_with_torch,
    ("torch", None): _write_torch,
}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what converters say of themselves, on one line or on fifty."""
    # Some add a handler for the standard error that they find.
    handlers = logging.root.handlers[:]
    with (
        warnings.catch_warnings(),
        open(os.devnull, "w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logging.root.handlers[:] = handlers
