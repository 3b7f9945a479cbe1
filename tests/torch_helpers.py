"""Reference implementations that the parity tests compare with."""

from collections.abc import Callable
from types import ModuleType
from typing import Any
from unittest import mock

import pytest


def import_torchvision() -> ModuleType:
    """Imports torchvision beside whichever torch there is, or skips the test.

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
