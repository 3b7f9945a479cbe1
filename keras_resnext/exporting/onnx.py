"""ONNX, in float32 and in 8 bits.

It is converted from a TensorFlow graph or from PyTorch's ExportedProgram.
"""

import functools
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from keras_resnext.exporting.base import Format
from keras_resnext.exporting.base import InferenceModel
from keras_resnext.exporting.torch import export_program
from keras_resnext.kernels import kernels

# Channels of merged groups in 8 bits. ResNeXt-50 of 32x4d in ONNX Runtime on
# a processor with VNNI: 78 images/s as it is; 115, 132, 120 and 105 with
# groups of 16, 32, 64 and 128 channels.
GROUP_WIDTH = 32


def load(
    path: pathlib.Path, threads: int | None = None
) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """Load an ONNX file into ONNX Runtime, on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    session = onnxruntime.InferenceSession(
        path, options, providers=["CPUExecutionProvider"]
    )
    (image,) = session.get_inputs()
    names = [output.name for output in session.get_outputs()]
    return lambda x: dict(
        zip(names, session.run(names, {image.name: x}), strict=True)
    )


def _convert(model: InferenceModel) -> Any:
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
    return proto


def _convert_with_torch(model: InferenceModel) -> Any:
    import torch

    program = torch.onnx.export(
        export_program(model), dynamo=True, verbose=False
    )
    assert program is not None
    return program.model_proto


def _name(model: InferenceModel, graph: Any) -> None:
    """Name the input, outputs and dimensions of an ONNX model."""
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


def _merge_groups(graph: Any) -> None:
    """Merge neighboring groups of convolutions, as far as `GROUP_WIDTH`.

    The kernel becomes block-diagonal, its zeros are exact in 8 bits, and the
    result stays the same.
    """
    import onnx

    kernels = {each.name: each for each in graph.initializer}
    for conv in graph.node:
        group = next((a for a in conv.attribute if a.name == "group"), None)
        if conv.op_type != "Conv" or group is None or group.i == 1:
            continue
        kernel = onnx.numpy_helper.to_array(kernels[conv.input[1]])
        filters, width, *size = kernel.shape
        merge = max(
            m
            for m in range(1, group.i + 1)
            if group.i % m == 0 and (m == 1 or m * width <= GROUP_WIDTH)
        )
        # Filters of one old group, and the inputs of each.
        parts = kernel.reshape(group.i // merge, merge, -1, width, *size)
        merged = np.einsum("gmfiyx,mn->gmfniyx", parts, np.eye(merge))
        made = onnx.numpy_helper.from_array(
            merged.reshape(filters, -1, *size).astype(kernel.dtype),
            f"{conv.name}_kernel",
        )
        graph.initializer.append(made)
        conv.input[1] = made.name
        group.i //= merge


def _quantize(model: InferenceModel, proto: Any, path: pathlib.Path) -> None:
    """Quantize weights and activations by the ranges of representative images.

    Activations are unsigned: with signed ones ONNX Runtime computes slower
    than in float32 on x86. Weights are signed, with a scale per channel. Both
    take 7 bits of the 8: products of whole ones overflow, silently, where a
    processor lacks VNNI (93.5 % of the bundled model's classes stay the same,
    with 7 bits 99 %).
    """
    import onnx
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    assert model.samples is not None
    name = model.input_spec.name
    images = ({name: image[None]} for image in model.samples.calibrating)

    class Images(quantization.CalibrationDataReader):
        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(images, None)

    whole, prepared = (model.scratch / f"{i}.onnx" for i in range(2))
    onnx.save(proto, whole)
    quant_pre_process(whole, prepared, skip_symbolic_shape=True)
    proto = onnx.load(prepared)
    _merge_groups(proto.graph)
    quantization.quantize_static(
        proto,
        path,
        Images(),
        per_channel=True,
        reduce_range=True,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
    )


def _write(
    model: InferenceModel,
    path: pathlib.Path,
    convert: Callable[[InferenceModel], Any],
    quantized: bool,
) -> None:
    import onnx

    proto = convert(model)
    _name(model, proto.graph)
    if quantized:
        _quantize(model, proto, path)
    else:
        onnx.save(proto, path)


FORMATS = tuple(
    Format(
        name,
        file,
        writers={
            "tensorflow": functools.partial(
                _write, convert=_convert, quantized=quantized
            ),
            "torch": functools.partial(
                _write, convert=_convert_with_torch, quantized=quantized
            ),
        },
        packages={
            "tensorflow": ("onnx", "onnxruntime", "tf2onnx"),
            "torch": ("onnx", "onnxruntime", "onnxscript"),
        },
        load=load,
        tolerance=None if quantized else 1e-4,
        needs_images=quantized,
    )
    for name, file, quantized in (
        ("onnx", "model.onnx", False),
        ("onnx_int8", "model_int8.onnx", True),
    )
)
