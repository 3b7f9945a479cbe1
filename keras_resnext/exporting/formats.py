"""What can be written, by which backend, and how exact it must be."""

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field

from keras_resnext.suggestions import did_you_mean

# Top-1 agreement that is asked of quantized weights.
AGREEMENT = 0.9

_CONVERTERS = ("onnx", "onnxruntime")


@dataclass(frozen=True)
class Format:
    """A file format.

    Args:
        name: As users spell it.
        file: File or folder that it is written to.
        runtime: What runs it.
        needs: For each backend that can write it, the modules that takes.
        tolerance: Largest difference of an output, as a share of the largest
            output. `None` where weights are quantized: there the most
            probable class must stay the same for most pictures.
    """

    name: str
    file: str
    runtime: str
    needs: dict[str, tuple[str, ...]] = field(repr=False)
    tolerance: float | None = 1e-4

    def missing(self, backend: str) -> list[str]:
        """The modules that aren't installed."""
        return [
            name
            for name in self.needs[backend]
            if importlib.util.find_spec(name) is None
        ]


_TFLITE: dict[str, tuple[str, ...]] = {"tensorflow": ()}

FORMATS = {
    each.name: each
    for each in (
        Format(
            "saved_model",
            "saved_model",
            "saved_model",
            {"tensorflow": (), "jax": ("tensorflow",)},
        ),
        Format("tflite", "model.tflite", "tflite", _TFLITE),
        Format(
            "tflite_float16", "model_float16.tflite", "tflite", _TFLITE, 1e-2
        ),
        Format(
            "tflite_dynamic", "model_dynamic.tflite", "tflite", _TFLITE, None
        ),
        Format("tflite_int8", "model_int8.tflite", "tflite", _TFLITE, None),
        Format(
            "onnx",
            "model.onnx",
            "onnx",
            {
                "tensorflow": (*_CONVERTERS, "tf2onnx"),
                "torch": (*_CONVERTERS, "onnxscript"),
            },
        ),
        Format(
            "openvino",
            "openvino",
            "openvino",
            {"tensorflow": ("openvino",), "torch": ("openvino",)},
        ),
        Format("torch", "model.pt2", "torch", {"torch": ()}),
    )
}


def chosen(
    names: Sequence[str] | None, backend: str, with_data: bool
) -> list[Format]:
    """The formats to write.

    Args:
        names: Those asked for; `None` for all that can be written.
        backend: Keras' backend.
        with_data: Whether there are pictures to quantize with.

    Raises:
        ValueError: If there is no such format, the backend can't write it, or
            pictures are missing that it needs.
        ImportError: If a package is missing.
    """
    if names is None:
        found = [
            each
            for each in FORMATS.values()
            if backend in each.needs
            and not each.missing(backend)
            and (with_data or each.name != "tflite_int8")
        ]
        if not found:
            raise ImportError(_hint(FORMATS["saved_model"], backend))
        return found
    if isinstance(names, str):
        raise ValueError(
            f"`formats` must be a list, such as [{names!r}]. Received: "
            f"{names!r}"
        )
    if not names:
        raise ValueError("`formats` is empty. Use None for all there are.")
    found = [_known(name) for name in dict.fromkeys(names)]
    for each in found:
        if backend not in each.needs:
            able = " or ".join(f"KERAS_BACKEND={name}" for name in each.needs)
            raise ValueError(
                f"The format '{each.name}' needs {able}; the backend in use "
                f"is {backend}."
            )
        if each.name == "tflite_int8" and not with_data:
            raise ValueError(
                "The format 'tflite_int8' needs `representative_data`, a "
                "hundred or so pictures to measure the range of every layer."
            )
        if each.missing(backend):
            raise ImportError(_hint(each, backend))
    return found


def of_any_size(formats: list[Format], named: bool) -> list[Format]:
    """Return the formats that can hold models for images of any size.

    Args:
        formats: Formats to write.
        named: Whether they were asked for by name.

    Raises:
        ValueError: If one that was asked for can't.
    """
    for each in formats:
        if named and each.runtime == "tflite":
            raise ValueError(
                f"The format '{each.name}' holds models for images of one "
                "size only. Build the model with an `input_shape` such as "
                "(224, 224, 3)."
            )
    return [each for each in formats if each.runtime != "tflite"]


def _known(name: str) -> Format:
    if name not in FORMATS:
        raise ValueError(
            f"There is no format {name!r}. Known are: {', '.join(FORMATS)}."
            + did_you_mean(str(name), FORMATS)
        )
    return FORMATS[name]


def _hint(each: Format, backend: str) -> str:
    missing = each.missing(backend)
    extra = "tensorflow" if "tensorflow" in missing else "export"
    return (
        f"The format '{each.name}' needs {', '.join(missing)}. Install it "
        f"with: pip install 'keras_resnext[{extra}]'"
    )
