"""Checkpoints in Keras' legacy HDF5 layout."""

import pathlib

import numpy as np

from keras_resnext.weights.files import KERAS_3
from keras_resnext.weights.files import CheckpointError
from keras_resnext.weights.hdf5 import Dataset
from keras_resnext.weights.hdf5 import check_sizes
from keras_resnext.weights.hdf5 import dataset
from keras_resnext.weights.hdf5 import open_h5


def read_h5(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Read the weights of a file, by the names that Keras gave them."""
    with open_h5(path) as root:
        top = root
        if "model_weights" in root.links:
            top = root.child("model_weights")
        layers = [top.child(name) for name in top.names("layer_names")]
        if not layers and {"vars", "layers"} & root.links.keys():
            raise CheckpointError(KERAS_3)
        datasets: dict[str, Dataset] = {}
        for layer in layers:
            for full_name in layer.names("weight_names"):
                name = full_name.removesuffix(":0")
                if name in datasets:
                    raise CheckpointError(
                        "names two weights alike; save it again with a newer "
                        "Keras"
                    )
                datasets[name] = dataset(name, layer.child(full_name))
        check_sizes(datasets.values(), path)
        return {name: found.read() for name, found in datasets.items()}
