"""Properties of torch's own kernels besides their values."""

import platform
import subprocess
import sys

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


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="about glibc's malloc"
)
def test_freed_buffers_are_not_returned_to_the_system():
    script = (
        "import keras_resnext, resource, torch\n"
        "for turn in range(20):\n"
        "    if turn == 4:\n"
        "        before = resource.getrusage(0).ru_minflt\n"
        "    a = torch.ones(16 << 20)\n"
        "    b = torch.ones(16 << 20)\n"
        "    del a, b\n"
        "print((resource.getrusage(0).ru_minflt - before) / 16)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    # Otherwise 32,768: both buffers, in pages of 4 KiB.
    assert float(done.stdout) < 400
