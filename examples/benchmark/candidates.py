"""Candidates of a benchmark: libraries, files and their runtimes."""

import importlib.util
from dataclasses import dataclass
from dataclasses import replace

TASKS = ("predict", "train", "startup", "memory")
DTYPES = ("float32", "bfloat16")

# The file of each form, in the folder of its maker.
FILES = {
    "saved_model:ours": "tensorflow/saved_model",
    "tflite:ours": "tensorflow/model.tflite",
    "tflite:ours:int8": "tensorflow/model_int8.tflite",
    "onnx:ours": "tensorflow/model.onnx",
    "onnx:ours:int8": "tensorflow/model_int8.onnx",
    "openvino:ours": "tensorflow/openvino/model.xml",
    "openvino:ours:int8": "tensorflow/openvino_int8/model.xml",
    "program:ours": "torch/model.pt2",
    "onnx:timm": "timm/model.onnx",
    "openvino:timm": "timm/model.onnx",
}
_PREDICTION = ("predict", "startup", "memory")


@dataclass(frozen=True)
class Candidate:
    """Way of computing a model.

    Args:
        name: Name on the command line.
        label: Label in the tables.
        runs: The function of `steps` that prepares it.
        form: Kind of model, or artifact, that the function makes.
        backend: Keras backend of the model or the artifact.
        needs: Required modules.
        tasks: Supported tasks, of `TASKS`.
        dtypes: Supported dtypes, of `DTYPES`.
        devices: Supported devices.
    """

    name: str
    label: str
    runs: str
    form: str
    backend: str
    needs: tuple[str, ...]
    tasks: tuple[str, ...] = TASKS
    dtypes: tuple[str, ...] = DTYPES
    devices: tuple[str, ...] = ("cpu", "gpu")

    @property
    def library(self) -> str:
        """Framework that computes it, if any."""
        computed_by = {"saved_model": "tensorflow", "program": "torch"}
        if self.runs in ("keras", "timm"):
            return self.backend
        return computed_by.get(self.runs, "")

    @property
    def is_ours(self) -> bool:
        """True if this package computes it, or has written the file."""
        return self.form.endswith((":ours", ":int8")) or self.form in (
            "plain",
            "folded",
        )

    @property
    def missing(self) -> list[str]:
        """Required modules that aren't installed."""
        return [
            name
            for name in self.needs
            if importlib.util.find_spec(name) is None
        ]


def _timm(name: str, label: str, form: str) -> Candidate:
    return Candidate(name, f"timm, {label}", "timm", form, "torch", _TIMM)


def _keras(backend: str) -> tuple[Candidate, ...]:
    title = {"tensorflow": "TensorFlow", "jax": "JAX"}.get(backend, backend)
    plain = Candidate(
        backend,
        f"ours on {title}",
        "keras",
        "plain",
        backend,
        (backend,),
        devices=("cpu",) if backend == "tensorflow" else ("cpu", "gpu"),
    )
    return (
        plain,
        replace(
            plain,
            name=f"{backend}-folded",
            label=f"ours on {title}, folded",
            form="folded",
            tasks=_PREDICTION,
        ),
        replace(
            plain,
            name=f"stock-{backend}",
            label=f"Keras' own layers on {title}",
            form="stock",
            # bfloat16 is no faster there.
            dtypes=DTYPES[:1],
        ),
    )


def _file(
    name: str,
    label: str,
    form: str,
    *needs: str,
    backend: str = "tensorflow",
    dtypes: tuple[str, ...] = DTYPES[:1],
) -> Candidate:
    """Return a file's candidate; `form` begins with its runtime."""
    return Candidate(
        name,
        label,
        form.partition(":")[0],
        form,
        backend,
        (backend, *needs),
        _PREDICTION,
        dtypes,
        devices=("cpu",),
    )


_TIMM = ("torch", "timm")
_ONNX = ("onnxruntime", "onnxscript")

CANDIDATES = {
    each.name: each
    for each in (
        _timm("timm", "channels_last", "channels_last"),
        _timm("timm-contiguous", "contiguous", "contiguous"),
        _timm("timm-compiled", "torch.compile", "compiled"),
        *_keras("tensorflow"),
        *_keras("jax"),
        *_keras("torch"),
        _file("saved-model", "our SavedModel", "saved_model:ours"),
        _file("tflite", "our TFLite", "tflite:ours"),
        _file("tflite-int8", "our TFLite, int8", "tflite:ours:int8"),
        _file(
            *("onnx", "our ONNX in ONNX Runtime", "onnx:ours"),
            *("onnxruntime", "tf2onnx"),
        ),
        _file(
            *("onnx-int8", "our ONNX, int8, in ONNX Runtime"),
            *("onnx:ours:int8", "onnxruntime", "tf2onnx"),
        ),
        _file(
            *("openvino", "our OpenVINO", "openvino:ours", "openvino"),
            dtypes=DTYPES,
        ),
        _file(
            *("openvino-int8", "our OpenVINO, int8", "openvino:ours:int8"),
            *("openvino", "nncf"),
        ),
        _file(
            *("exported-program", "our ExportedProgram", "program:ours"),
            backend="torch",
        ),
        _file(
            *("timm-onnx", "timm's ONNX in ONNX Runtime", "onnx:timm"),
            *("timm", *_ONNX),
            backend="torch",
        ),
        _file(
            *("timm-openvino", "timm's ONNX in OpenVINO", "openvino:timm"),
            *("timm", "openvino", *_ONNX),
            backend="torch",
            dtypes=DTYPES,
        ),
    )
}

# The candidate that all others are compared with.
PEER = "timm"
# No faster than the candidates beside them, so measured only if named.
_LEFT_OUT = ("stock-jax", "stock-torch")


def usual(device: str) -> list[str]:
    """Return the candidates that are measured on a device by default."""
    return [
        each.name
        for each in CANDIDATES.values()
        if device in each.devices and each.name not in _LEFT_OUT
    ]
