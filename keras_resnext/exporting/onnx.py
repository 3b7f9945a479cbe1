"""ONNX, from a TensorFlow graph or from PyTorch's ExportedProgram."""

import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from keras_resnext.exporting.base import Format
from keras_resnext.exporting.base import InferenceModel
from keras_resnext.exporting.torch import export_program
from keras_resnext.kernels import kernels


def load(path: pathlib.Path) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """Load an ONNX file into ONNX Runtime, on the CPU."""
    import onnxruntime

    session = onnxruntime.InferenceSession(
        path, providers=["CPUExecutionProvider"]
    )
    (image,) = session.get_inputs()
    names = [output.name for output in session.get_outputs()]
    return lambda x: dict(
        zip(names, session.run(names, {image.name: x}), strict=True)
    )


def _write(model: InferenceModel, path: pathlib.Path) -> None:
    import tensorflow as tf
    import tf2onnx
    from tensorflow.python.framework import convert_to_constants

    (images,) = model.wrapped.inputs
    signature = [tf.TensorSpec(images.shape, images.dtype)]
    with kernels.portable():
        traced = tf.function(model.wrapped).get_concrete_function(
            *signature, training=False
        )
    # Frozen here: tf2onnx takes constants that a layer stores as tensors, such
    # as the statistics of `Normalization`, for inputs.
    frozen = convert_to_constants.convert_variables_to_constants_v2(
        traced, lower_control_flow=False
    )
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel("ERROR")  # tf2onnx calls what TensorFlow deprecates
    try:
        proto, _ = tf2onnx.convert.from_graph_def(
            frozen.graph.as_graph_def(),
            input_names=[each.name for each in frozen.inputs],
            output_names=[each.name for each in frozen.outputs],
        )
    finally:
        logger.setLevel(level)
    _merge_padding(proto.graph)
    _save(model, proto, path)


def _write_with_torch(model: InferenceModel, path: pathlib.Path) -> None:
    import torch

    program = torch.onnx.export(
        export_program(model), dynamo=True, verbose=False
    )
    assert program is not None
    _save(model, program.model_proto, path)


def _save(model: InferenceModel, proto: Any, path: pathlib.Path) -> None:
    """Name the input, outputs and dimensions of an ONNX model, and save it."""
    import onnx

    graph = proto.graph
    # Keras' trees order dictionaries by their keys.
    outputs = sorted(model.wrapped.output)
    renamed = dict(
        zip([each.name for each in graph.output], outputs, strict=True)
    )
    renamed[graph.input[0].name] = model.input_spec.name
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
    onnx.save(proto, path)


def _merge_padding(graph: Any) -> None:
    """Merge the padding before max pooling into the pooling.

    TensorFlow's padding never changes the maximum: it repeats pixels inside
    the window, or is zero after a ReLU (`kernels.tensorflow.max_pool2d`).
    ONNX ignores padding in the maximum, at no cost.
    """
    import onnx

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
        # Before and after each axis: images, channels, height and width.
        sizes = onnx.numpy_helper.to_array(constants[pad.input[1]]).tolist()
        pool.attribute.append(
            onnx.helper.make_attribute("pads", sizes[2:4] + sizes[6:8])
        )
        pool.input[0] = pad.input[0]
        graph.node.remove(pad)


FORMAT = Format(
    "onnx",
    "model.onnx",
    writers={"tensorflow": _write, "torch": _write_with_torch},
    packages={
        "tensorflow": ("onnx", "onnxruntime", "tf2onnx"),
        "torch": ("onnx", "onnxruntime", "onnxscript"),
    },
    load=load,
)
