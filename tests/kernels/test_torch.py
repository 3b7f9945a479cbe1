"""Properties of torch's own kernels besides their values."""

import keras
import pytest
from keras import ops
from loops import assert_close

from keras_resnext.kernels import kernels

pytestmark = pytest.mark.skipif(
    keras.config.backend() != "torch", reason="torch's own kernels"
)


def test_torch_hands_on_channels_last_in_memory():
    x = ops.ones((2, 9, 7, 8))
    kernel = ops.ones((1, 1, 8, 16))
    geometric = (1, 1), (0, 0), (1, 1), 1, "channels_last"
    assert kernels.conv2d(x, kernel, *geometric).is_contiguous()
    pooled = kernels.max_pool2d(x, (3, 3), (2, 2), (1, 1), "channels_last")
    assert pooled.is_contiguous()


def test_torch_exports_ordinary_convolutions():
    import torch

    class Pointwise(torch.nn.Module):
        def forward(self, x, kernel):
            geometric = (2, 2), (0, 0), (1, 1), 1, "channels_last"
            return kernels.conv2d(x, kernel, *geometric)

    x, kernel = torch.rand(2, 9, 7, 8), torch.rand(1, 1, 8, 16)
    program = torch.export.export(Pointwise(), (x, kernel))
    code = program.graph_module.code
    assert "conv2d" in code
    assert "transpose2d" not in code
    found = program.module()(x, kernel)
    expected = Pointwise()(x, kernel)
    assert_close([found.numpy()], [expected.numpy()])
