"""PyTorch's ExportedProgram, also the source of ONNX and OpenVINO files."""

import pathlib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_resnext.exporting.base import Format
from keras_resnext.exporting.base import InferenceModel
from keras_resnext.kernels.generic import Tensor


def load(
    path: pathlib.Path, threads: int | None = None
) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """Load an ExportedProgram into PyTorch."""
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    program = torch.export.load(path).module()

    def predict(x: np.ndarray) -> dict[str, np.ndarray]:
        with torch.inference_mode():
            outputs = program(torch.from_numpy(x))
        return {name: y.numpy() for name, y in outputs.items()}

    return predict


def export_program(model: InferenceModel) -> Any:
    """Return a `torch.export.ExportedProgram` for batches of any size."""
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

    input_spec = model.input_spec
    module = (OfPixels if input_spec.pixels else OfImages)(model.wrapped)
    # A batch size of one would become a constant.
    example = torch.from_numpy(input_spec.synthesize()[:2])
    shape = [None, *input_spec.shape]
    dynamic = {i: torch.export.Dim.DYNAMIC for i in range(4) if not shape[i]}
    with torch.no_grad():
        return torch.export.export(
            module, (example,), dynamic_shapes=(dynamic,)
        )


def _write(model: InferenceModel, path: pathlib.Path) -> None:
    import torch

    torch.export.save(export_program(model), path)


FORMAT = Format("torch", "model.pt2", writers={"torch": _write}, load=load)
