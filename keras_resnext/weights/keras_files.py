"""Files of Keras: legacy HDF5, and the `.weights.h5` and `.keras` of Keras 3.

HDF5's own library crashes or hangs on damaged files, and then ignores signals.
The weights are therefore read without it.
"""

import contextlib
import pathlib
import tempfile
import zipfile
from collections.abc import Callable
from collections.abc import Iterable

import numpy as np

from keras_resnext.weights.files import CheckpointError
from keras_resnext.weights.files import Contents
from keras_resnext.weights.files import LazyTensor
from keras_resnext.weights.files import Tensor
from keras_resnext.weights.files import check_archive
from keras_resnext.weights.files import shown
from keras_resnext.weights.hdf5 import Dataset
from keras_resnext.weights.hdf5 import Object
from keras_resnext.weights.hdf5 import check_sizes
from keras_resnext.weights.hdf5 import dataset
from keras_resnext.weights.hdf5 import open_h5
from keras_resnext.weights.values import FLOATS
from keras_resnext.weights.values import check_values

WEIGHTS = "model.weights.h5"  # inside a .keras file
_MAX_PATH = 1024


class KerasTensors(dict[str, Tensor]):
    """Tensors of a file of Keras 3, by path: `"layers/conv2d/vars/0"`.

    Args:
        path: The file.
        tensors: All tensors, including the optimizer's.
        names: Names of layers by path, `"layers/conv2d"`.
        archive: Whether the file also contains the model's architecture.
    """

    def __init__(
        self,
        path: pathlib.Path,
        tensors: Iterable[tuple[str, Tensor]],
        names: dict[str, str],
        archive: bool,
    ) -> None:
        super().__init__(tensors)
        self.path = path
        self.names = names
        self.archive = archive

    @property
    def of_layers(self) -> set[str]:
        """Return the paths of all tensors except the optimizer's."""
        return {path for path in self if not path.startswith("optimizer/")}

    @property
    def of_optimizer(self) -> dict[str, tuple]:
        """Return the shapes of the optimizer's variables by path."""
        paths = self.keys() - self.of_layers
        return {path: self[path].shape for path in paths}

    def classes(self, head: str) -> int | None:
        """Return the number of units of a layer, if it exists."""
        for group, name in self.names.items():
            kernel = self.get(f"{group}/vars/0")
            if name == head and kernel is not None and kernel.shape:
                return kernel.shape[-1]
        return None

    def layers(self, path: str) -> list[str]:
        """Return the layers that a tensor is in, from the outermost."""
        parts = path.split("/")
        groups = ("/".join(parts[:end]) for end in range(1, len(parts)))
        return [self.names[group] for group in groups if group in self.names]

    def label(self, path: str) -> str:
        """Describe a tensor: `"weight 0 of 'stem_conv1'"`."""
        group, _, index = path.partition("/vars/")
        layer = "/".join(self.layers(path)) or group
        return f"weight {shown(index)} of '{shown(layer)}'"

    def read(self, path: str) -> np.ndarray:
        """Read a tensor.

        Raises:
            CheckpointError: If it can't be read, or is NaN or infinite.
        """
        value = np.asarray(self[path])
        if value.dtype.name in FLOATS:
            check_values(value, self.label(path), f"'{self.path}'")
        return value


def is_archive(head: bytes, path: pathlib.Path) -> bool:
    """Return whether a file is a `.keras` archive, whatever its name."""
    if not head.startswith(b"PK\3\4"):
        return False
    with contextlib.suppress(Exception), zipfile.ZipFile(path) as archive:
        return WEIGHTS in archive.namelist() or path.suffix == ".keras"
    return path.suffix == ".keras"


def open_archive(
    path: pathlib.Path, stack: contextlib.ExitStack, wanted: str | None
) -> Contents:
    """Open the weights in a `.keras` archive.

    Args:
        path: Path of the file.
        stack: Stack that closes the file.
        wanted: Must be `None`: there is one set of weights.
    """
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    unpack(path, folder, WEIGHTS.__eq__)
    file = pathlib.Path(folder, WEIGHTS)
    if not file.exists():
        raise CheckpointError(f"contains no {WEIGHTS}")
    return _open_keras_3(path, file, stack, wanted)


def open_hdf5(
    path: pathlib.Path, stack: contextlib.ExitStack, wanted: str | None
) -> Contents:
    """Open a legacy HDF5 file of Keras, or a `.weights.h5` of Keras 3.

    The arguments are those of `open_archive`; a legacy file may contain
    several models, and `wanted` is the prefix of one.
    """
    with open_h5(path) as root:
        top = root
        if "model_weights" in root.links:
            top = root.child("model_weights")
        if top is not root or root.names("layer_names"):
            return Contents(_read_legacy(path, top), prefix=wanted or "")
    return _open_keras_3(path, path, stack, wanted)


def _read_legacy(path: pathlib.Path, top: Object) -> dict[str, Tensor]:
    """Read the weights of a file, by Keras' names."""
    datasets: dict[str, Dataset] = {}
    for layer in map(top.child, top.names("layer_names")):
        for full_name in layer.names("weight_names"):
            name = full_name.removesuffix(":0")
            if name in datasets:
                raise CheckpointError(
                    "gives two weights one name; save it with a newer Keras"
                )
            datasets[name] = dataset(name, layer.child(full_name))
    check_sizes(datasets.values(), path)
    return {name: found.read() for name, found in datasets.items()}


def _open_keras_3(
    path: pathlib.Path,
    file: pathlib.Path,
    stack: contextlib.ExitStack,
    wanted: str | None,
) -> Contents:
    if wanted is not None:
        raise CheckpointError(
            "is a file of Keras, which contains one set of weights. Leave out "
            f"weight_set, which is {wanted!r}"
        )
    datasets: dict[str, Dataset] = {}
    names: dict[str, str] = {}
    groups = [("", stack.enter_context(open_h5(file)))]
    for above, group in groups:
        for name in group.links:
            below = f"{above}/{name}".removeprefix("/")
            odd = name in ("", ".", "..") or "/" in name
            if odd or len(below) > _MAX_PATH:
                raise CheckpointError(f"has a group of the name {name[:50]!r}")
            child = group.child(name)
            if not child.is_group:
                datasets[below] = dataset(below, child)
                continue
            groups.append((below, child))
            for layer in child.names("name")[:1] if name == "vars" else []:
                names[above] = layer
    if not any("/vars/" in f"/{name}" for name in datasets):
        raise CheckpointError("contains no weights; use another checkpoint")
    check_sizes(datasets.values(), file)
    tensors = (
        (name, LazyTensor(found.shape, found.dtype, found.read))
        for name, found in datasets.items()
    )
    return Contents(KerasTensors(path, tensors, names, file != path))


def unpack(
    path: pathlib.Path,
    folder: str | pathlib.Path,
    wanted: Callable[[str], bool],
) -> None:
    """Unpack members of a `.keras` file, which have checksums."""
    with zipfile.ZipFile(path) as archive:
        check_archive(archive, path)
        for name in filter(wanted, archive.namelist()):
            archive.extract(name, folder)
