"""All formats, and the choice among them."""

from collections.abc import Sequence

from keras_resnext.checks import check_type
from keras_resnext.exporting import onnx
from keras_resnext.exporting import openvino
from keras_resnext.exporting import saved_model
from keras_resnext.exporting import tflite
from keras_resnext.exporting import torch
from keras_resnext.exporting.base import Format
from keras_resnext.suggestions import did_you_mean

FORMATS = {
    format.name: format
    for format in (
        saved_model.FORMAT,
        *tflite.FORMATS,
        *onnx.FORMATS,
        *openvino.FORMATS,
        torch.FORMAT,
    )
}


def choose(
    names: Sequence[str] | None,
    backend: str,
    with_images: bool,
    any_size: bool = False,
) -> list[Format]:
    """Return the formats to write.

    Args:
        names: Names of formats; `None` takes all that can be written.
        backend: Keras' backend.
        with_images: Whether there are representative images.
        any_size: Whether the model takes images of any size.

    Raises:
        ValueError: If there is no such format, or it needs representative
            images or images of one size.
        ImportError: If a package is missing.
    """
    refusals = {
        name: _refusal(format, backend, with_images, any_size)
        for name, format in FORMATS.items()
    }
    if names is None:
        names = [name for name in FORMATS if refusals[name] is None]
        # Only the JAX backend may have none, without TensorFlow.
        names = names or ["saved_model"]
    check_type("formats", names, tuple[str, ...])
    if not names:
        raise ValueError(
            "`formats` is empty. Use None for all available formats."
        )
    for name in names:
        if name not in FORMATS:
            raise ValueError(
                f"There is no format {name!r}. Formats: "
                f"{', '.join(FORMATS)}.{did_you_mean(str(name), FORMATS)}"
            )
        refusal = refusals[name]
        if refusal is not None:
            raise refusal
    return [FORMATS[name] for name in dict.fromkeys(names)]


def _refusal(
    format: Format, backend: str, with_images: bool, any_size: bool
) -> Exception | None:
    """Return the reason why a format can't be written, if there is one."""
    if format.needs_images and not with_images:
        return ValueError(
            f"The format '{format.name}' needs `representative_data`, a "
            "hundred or so images to calibrate the range of every layer."
        )
    if any_size and not format.any_size:
        return ValueError(
            f"The format '{format.name}' is for images of one size only. Build "
            "the model with an `input_shape` such as (224, 224, 3)."
        )
    missing = format.missing(backend)
    if missing:
        extras = {"tensorflow": "tensorflow", "torch": "torch"}
        extra = ",".join(
            dict.fromkeys(extras.get(x, "export") for x in missing)
        )
        return ImportError(
            f"The format '{format.name}' needs {', '.join(missing)}. Install "
            f"it with: pip install 'keras_resnext[{extra}]'"
        )
    return None
