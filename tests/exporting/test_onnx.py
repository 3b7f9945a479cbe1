"""ONNX graphs, changed for faster computation of the same."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


@pytest.mark.once
@pytest.mark.parametrize(
    ("groups", "width", "filters", "merged"),
    [(8, 4, 4, 1), (16, 4, 8, 2), (6, 10, 2, 2), (4, 64, 64, 4), (1, 8, 8, 1)],
)
def test_groups_merge_up_to_a_width(groups, width, filters, merged):
    from keras_resnext.exporting.onnx import _merge_groups

    random = np.random.default_rng(0)
    kernel, bias, x = (
        random.normal(size=shape).astype("float32")
        for shape in (
            (groups * filters, width, 3, 3),
            (groups * filters,),
            (2, groups * width, 9, 9),
        )
    )
    # Two convolutions share one kernel; a third one has no `group` at all.
    nodes = [
        onnx.helper.make_node(
            *("Conv", ["x", "w", "b"], [f"y{i}"], f"conv{i}"),
            group=groups,
            strides=[i + 1, 1],
            pads=[1, 1, 1, 1],
        )
        for i in range(2)
    ]
    nodes.append(onnx.helper.make_node("Conv", ["y0", "v"], ["z"], "dense"))
    shape = [3, groups * filters, 1, 1]
    weights = {"w": kernel, "b": bias, "v": np.ones(shape, "float32")}
    value = onnx.helper.make_tensor_value_info
    kind = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        nodes,
        "two",
        [value("x", kind, x.shape)],
        [value(name, kind, [None] * 4) for name in ("y0", "y1", "z")],
        [onnx.numpy_helper.from_array(w, key) for key, w in weights.items()],
    )
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9
    )
    expected = computed(model, x)
    _merge_groups(model.graph)
    onnx.checker.check_model(model, full_check=True)
    found = [
        attribute.i
        for node in model.graph.node
        for attribute in node.attribute
        if attribute.name == "group"
    ]
    assert found == [merged, merged]
    for y, other in zip(computed(model, x), expected, strict=True):
        np.testing.assert_allclose(y, other, rtol=1e-4, atol=1e-4)


def computed(model, x):
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"x": x})
