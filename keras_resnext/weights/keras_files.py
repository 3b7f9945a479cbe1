"""Files of Keras 3: what is in them, with no model to load them into."""

import contextlib
import os
import zipfile

import h5py

SUFFIXES = (".weights.h5", ".keras")

Shape = tuple[int, ...]


def is_keras_file(path: str | os.PathLike[str]) -> bool:
    """Whether a path is that of a file, and its ending Keras' own."""
    return os.fspath(path).endswith(SUFFIXES) and os.path.isfile(path)


def stored_shapes(path: str | os.PathLike[str]) -> dict[str, list[Shape]]:
    """The shapes of the arrays of each layer, by the layer's name."""
    shapes = {}
    with contextlib.ExitStack() as stack:
        file: object = path
        if os.fspath(path).endswith(".keras"):
            archive = stack.enter_context(zipfile.ZipFile(path))
            file = stack.enter_context(archive.open("model.weights.h5"))
        layers = stack.enter_context(h5py.File(file, "r"))["layers"]
        for layer in layers.values():
            if "vars" in layer:
                found: list[Shape] = []
                layer.visititems(lambda _, item, into=found: _add(item, into))
                shapes[str(layer["vars"].attrs.get("name"))] = found
    return shapes


def _add(item: h5py.Group | h5py.Dataset, shapes: list[Shape]) -> None:
    if isinstance(item, h5py.Dataset):
        shapes.append(item.shape)
