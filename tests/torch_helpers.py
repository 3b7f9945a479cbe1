"""Reference implementations that the parity tests compare with."""

from collections.abc import Callable
from types import ModuleType
from typing import Any
from unittest import mock

import pytest


def import_torchvision() -> ModuleType:
    """Import torchvision beside whichever torch there is, or skip the test.

    A CUDA wheel of torchvision does not load its operators into a CPU build of
    torch and then fails to describe them to it. Its Python side, transforms
    and model definitions, needs none of them. timm imports torchvision, so
    call this before `pytest.importorskip("timm")`.

    Returns:
        The module `torchvision`.
    """
    torch = pytest.importorskip("torch")
    register_fake = torch.library.register_fake

    def skip_torchvision(op: Any, *args: Any, **kwargs: Any) -> Callable:
        if isinstance(op, str) and op.startswith("torchvision::"):
            return lambda function: function
        return register_fake(op, *args, **kwargs)

    with mock.patch.object(torch.library, "register_fake", skip_torchvision):
        return pytest.importorskip("torchvision")


def randomize(net: Any) -> Any:
    """Batch statistics and scales as after training, some scales negative."""
    import torch

    torch.manual_seed(0)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            shape = module.weight.shape
            signs = torch.where(torch.rand(shape) < 0.3, -1.0, 1.0)
            module.weight.data = signs * (0.5 + torch.rand(shape))
            module.bias.data = 0.1 * torch.randn(shape)
            module.running_mean = 0.1 * torch.randn(shape)
            module.running_var = 0.5 + torch.rand(shape)
    return net.eval()
