"""Formats that another backend writes, in a process of its own.

    python -m keras_resnext.exporting.conversion FOLDER

FOLDER contains `model.keras`, and `job.pickle` with everything else that
writers need. The name of each format is printed before it is written.
"""

import importlib
import os
import pathlib
import pickle
import subprocess
import sys
from collections.abc import Callable
from collections.abc import Sequence

import keras

from keras_resnext.exporting.base import Format
from keras_resnext.exporting.base import InferenceModel
from keras_resnext.exporting.formats import FORMATS
from keras_resnext.exporting.report import ExportError


def write(
    model: InferenceModel,
    formats: Sequence[Format],
    backend: str,
    folder: pathlib.Path,
    begin: Callable[[str], None],
) -> None:
    """Write a model with another backend.

    Args:
        model: The model.
        formats: The formats.
        backend: Backend that can write them.
        folder: Folder of the new files.
        begin: Called with the name of each format before it is written.

    Raises:
        ExportError: If the other process can't load or convert the model.
    """
    scratch = model.scratch / backend
    scratch.mkdir()
    model.folded.save(scratch / "model.keras")
    layers = model.folded._flatten_layers()
    modules = {type(layer).__module__ for layer in layers} - {"__main__"}
    paths = {each.name: folder / each.file for each in formats}
    facts = (model.input_spec, model.samples, model.labels)
    job = (keras.config.image_data_format(), modules, facts, paths)
    (scratch / "job.pickle").write_bytes(pickle.dumps(job))
    with (scratch / "errors.txt").open("w+", errors="replace") as errors:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", __name__, scratch],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={
                **os.environ,
                "KERAS_BACKEND": backend,
                "PYTHONPATH": os.pathsep.join([*filter(None, sys.path), "."]),
                "TF_CPP_MIN_LOG_LEVEL": "3",
                # This process has the GPU's memory.
                "CUDA_VISIBLE_DEVICES": "-1",
            },
        )
        with process:
            try:
                for line in process.stdout or ():
                    begin(line.strip())
            except BaseException:
                process.kill()
                raise
        errors.seek(0)
        lines = errors.read().strip().splitlines()
    if process.returncode:
        reason = lines[-1] if lines else f"status {process.returncode}"
        # As Python prints it.
        raise ExportError(reason.rpartition("ExportError: ")[2])


def convert(scratch: pathlib.Path) -> None:
    """Write the files of a folder's job."""
    job = pickle.loads((scratch / "job.pickle").read_bytes())
    data_format, modules, facts, paths = job
    input_spec, samples, labels = facts
    keras.config.set_image_data_format(data_format)
    names = ", ".join(f"'{name}'" for name in paths)
    try:
        for module in modules:
            importlib.import_module(module)
        folded = keras.saving.load_model(
            scratch / "model.keras", compile=False, safe_mode=False
        )
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise ExportError(
            f"{names} can't be written: the model can't be loaded into the "
            f"separate process in which {keras.backend.backend()} converts it "
            f"({reason}). Define your own layers in a module, not in a script."
        ) from None
    model = InferenceModel(folded, input_spec, samples, labels, scratch)
    for name, path in paths.items():
        print(name, flush=True)
        FORMATS[name].write(model, path)


if __name__ == "__main__":
    convert(pathlib.Path(sys.argv[1]))
