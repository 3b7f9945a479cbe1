"""Files of weights: open, inspect, assign and write them."""

import contextlib
import logging
import os
import pathlib
from collections.abc import Iterator
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import safetensors.numpy

from keras_resnext import atomic_files
from keras_resnext import labels
from keras_resnext.checks import check_type
from keras_resnext.data_config import DataConfig
from keras_resnext.weights import convert
from keras_resnext.weights import keras_models
from keras_resnext.weights import state_dicts
from keras_resnext.weights.addresses import find_checkpoint
from keras_resnext.weights.fetch import fetch
from keras_resnext.weights.files import CheckpointError
from keras_resnext.weights.files import Contents
from keras_resnext.weights.files import Tensor
from keras_resnext.weights.identify import HEAD
from keras_resnext.weights.identify import STEM
from keras_resnext.weights.identify import find_model
from keras_resnext.weights.identify import looks_like
from keras_resnext.weights.identify import num_classes
from keras_resnext.weights.keras_files import KerasTensors
from keras_resnext.weights.readers import open_checkpoint
from keras_resnext.weights.records import Weights

Path = str | os.PathLike[str]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """Weights of a file or a model, and their metadata.

    `Checkpoint.open` reads a file, `Checkpoint.of_model` a model; `assign`
    loads the weights into a model, `write` saves them to a file.

    Args:
        layout: Layout of the tensors' names and shapes: `"timm_resnet"`
            (torchvision's too), …, or `"keras"`.
        variants: Names of `list_models()` that the weights fit: several if
            their weights don't differ, none for another model and for the
            layout `"keras"`, which is not identified.
        classes: Number of classes, `None` without a classifier.
        num_tensors: Number of tensors in the set of weights.
        weight_set: Keys and prefix that lead to the weights, such as
            `"state_dict_ema"` or `"state_dict/model"`; `""` if the file
            contains nothing else.
        weight_sets: All sets of weights in a training checkpoint, by their
            keys, for the argument `weight_set` of `open`.
        data_config: Preparation of images and labels, as the catalog or timm's
            `config.json` beside the file states them, or `None`.
        path: The file on this machine, or `None` for a model's weights.
        chosen: Whether the caller named the set of weights.
        tensors: Tensors by name. `np.asarray` reads one while the file is
            open; empty after it is closed.

    Example:
    >>> model = keras_resnext.ResNeXt50(weights=None, classes=10)
    >>> with keras_resnext.Checkpoint.open("flowers.safetensors") as checkpoint:
    ...     print(checkpoint.variants, checkpoint.classes)
    ...     checkpoint.assign(model)
    ('resnext50_32x4d',) 10
    >>> keras_resnext.Checkpoint.of_model(model).write("copy.safetensors")
    """

    layout: str
    variants: tuple[str, ...]
    classes: int | None
    num_tensors: int
    weight_set: str = ""
    weight_sets: tuple[str, ...] = ()
    data_config: DataConfig | None = None
    path: pathlib.Path | None = field(default=None, compare=False)
    chosen: bool = field(default=True, compare=False, repr=False)
    tensors: dict[str, Tensor] = field(
        default_factory=dict, compare=False, repr=False
    )

    @classmethod
    @contextlib.contextmanager
    def open(
        cls,
        source: Path | Weights,
        weight_set: str | None = None,
        include_top: bool = True,
    ) -> Iterator["Checkpoint"]:
        """Open a checkpoint, without executing code in it.

        Args:
            source: A checkpoint of timm, torchvision, mmpretrain or Lightning
                (safetensors, `.pth`, `.ckpt`), a legacy `.h5` of
                keras-applications or of qubvel's classification_models, or a
                `.weights.h5` or `.keras` file; or the address of one:
                `hf://owner/name` (optionally `hf://owner/name@revision` and a
                file's name after it) on the Hugging Face hub, `https://…` or
                `file://…`; or a record of the catalog (`get_weights`).
            weight_set: Set of weights in a training checkpoint to read, by the
                keys that lead to them, such as `"model_ema"` or
                `"state_dict/backbone"`. `None` takes the same as timm:
                `"state_dict_ema"`, `"model_ema"`, `"state_dict"`, `"model"`,
                the first of these that exists; else the only averaged set, or
                the only set.
            include_top: Whether the classifier is needed; some records have a
                smaller file without it.

        Yields:
            The `Checkpoint`.

        Raises:
            FileNotFoundError: If there is no such file.
            WeightsUnavailableError: If it can't be downloaded.
            CheckpointError: If the file can't be read, changes meanwhile, or
                contains several sets of weights without a clear choice.
        """
        if isinstance(source, Weights):
            file: Path = fetch(source, include_top)
            names = labels.known(source, source.classes)
            config: DataConfig | None = replace(
                DataConfig.of_weights(source),
                labels=None if names is None else tuple(names),
            )
        else:
            file = find_checkpoint(source)
            config = getattr(file, "data_config", None)
        try:
            with open_checkpoint(file, weight_set) as contents:
                checkpoint = cls._of(
                    contents,
                    path=pathlib.Path(file),
                    chosen=weight_set is not None,
                    data_config=config,
                )
                yield checkpoint
                checkpoint.tensors.clear()
        except CheckpointError as error:
            if not isinstance(source, Weights):
                raise
            raise CheckpointError(
                f"{error} It was downloaded for '{source.name}'; delete it and "
                "load again to download it again."
            ) from error

    @classmethod
    def of_model(
        cls, model: keras.Model, layout: str | None = None
    ) -> "Checkpoint":
        """Turn a model's weights into a checkpoint for timm or torchvision.

        Args and errors are those of `to_torch_state_dict`.

        Returns:
            A `Checkpoint`, in memory.
        """
        return cls._of(Contents({**state_dicts.state_dict(model, layout)}))

    @classmethod
    def _of(cls, contents: Contents, **stated: Any) -> "Checkpoint":
        """Identify the contents of a file."""
        tensors, weight_set, weight_sets, prefix = contents
        if isinstance(tensors, KerasTensors):
            layout, variants = "keras", []
            classes, num_tensors = tensors.classes(HEAD), len(tensors.of_layers)
        else:
            layout, prefix, tensors = find_model(tensors, prefix)
            variants = looks_like(tensors, layout)
            classes, num_tensors = num_classes(tensors, layout), len(tensors)
        config = stated.get("data_config")
        count = len(config.labels or ()) if config else 0
        if count and classes not in (None, count):
            raise CheckpointError(
                f"'{stated['path']}' has {count} labels for {classes} classes."
            )
        return cls(
            layout=layout,
            variants=tuple(variants),
            classes=classes,
            num_tensors=num_tensors,
            weight_set="/".join(filter(None, (weight_set, prefix[:-1]))),
            weight_sets=weight_sets,
            tensors=tensors,
            **stated,
        )

    @property
    def variant(self) -> str:
        """Name of the variant.

        Raises:
            CheckpointError: If the checkpoint fits no variant, or several.
        """
        if len(self.variants) != 1:
            raise CheckpointError(
                f"'{self.path}' does not identify its model. Variants that "
                f"fit: {', '.join(self.variants) or 'none'}. Name one with "
                "keras_resnext.get_model(name, weights=path)."
            )
        return self.variants[0]

    def saved_model(self) -> keras.Model | None:
        """Build the model of a `.keras` file; return `None` for other files.

        Keras loads a checked copy of the weights, as
        `keras.saving.load_model` may hang on a damaged file. It reads the
        file's configuration in safe mode.

        Returns:
            The model with its weights, not compiled.

        Raises:
            CheckpointError: If Keras can't open the file.
        """
        if isinstance(self.tensors, KerasTensors) and self.tensors.archive:
            return keras_models.build(self.tensors)
        return None

    def assign(self, model: keras.Model) -> None:
        """Assign the weights to a model.

        The model also receives `data_config` (see `get_data_config`). Only
        the weights of a training checkpoint are read. An automatic choice
        among several sets of weights is logged.

        Args:
            model: A model built here; for files of Keras, any built model. It
                loads a checked copy, as `model.load_weights` may hang on a
                damaged file.

        Raises:
            CheckpointError: If the checkpoint can't be read or doesn't fit
                the model, which is then unchanged.
        """
        if isinstance(self.tensors, KerasTensors):
            keras_models.assign(model, self.tensors)
        else:
            variables = dict(variables_of(model))
            shapes = {key: tuple(v.shape) for key, v in variables.items()}
            try:
                values = convert.to_keras(
                    self.tensors,
                    shapes,
                    [layer.name for layer in model.layers],
                    self.layout,
                )
            except convert.MismatchError as error:
                likely = " or ".join(self.variants)
                hint = f" It looks like {likely}." if likely else ""
                raise CheckpointError(f"{error}{hint}") from None
            for key, value in values:
                variables[key].assign(value)
        config = self.data_config
        for layer in model.layers:
            if layer.name == STEM and (config or self.layout != "keras"):
                layer.data_config = config and replace(config, labels=None)
            if layer.name == HEAD and config:
                layer.labels = config.labels
        if not self.chosen and len(self.weight_sets) > 1:
            logger.warning(
                "%s: loaded '%s' of the sets of weights %s. Choose another "
                "with weight_set.",
                self.path,
                self.weight_set,
                ", ".join(f"'{name}'" for name in self.weight_sets),
            )

    def write(self, path: Path) -> None:
        """Write the weights to a safetensors file that timm reads.

        Args:
            path: Path of the file, ending in `.safetensors`. An existing file
                is replaced once the new one is complete.

        Raises:
            ValueError: If the path has another ending, or the layout is not
                one of timm's.
            OSError: If the file can't be written.
        """
        path = pathlib.Path(path).expanduser()
        if path.suffix != ".safetensors":
            raise ValueError(
                f"`path` must end in '.safetensors'. Received: '{path}'"
            )
        if self.layout not in state_dicts.TORCH_LAYOUTS:
            raise ValueError(
                f"timm does not read the layout '{self.layout}'. Assign the "
                "checkpoint to a model and write Checkpoint.of_model(model)."
            )
        arrays = {
            name: np.ascontiguousarray(tensor)
            for name, tensor in self.tensors.items()
        }
        # `save_file` would make it unreadable for other users.
        content = safetensors.numpy.save(arrays, metadata={"format": "pt"})
        atomic_files.write(path, content)


def variables_of(
    model: keras.Model,
) -> Iterator[tuple[convert.Variable, keras.Variable]]:
    """Yield a model's variables, by layer and by name or path in that layer.

    Nested layers may have variables of one name: `"conv_norm/gamma"`.
    """
    for layer in model.layers:
        for variable in layer.weights:
            path = f"/{variable.path}".rpartition(f"/{layer.name}/")[2]
            yield (layer.name, path), variable


# The public functions ---------------------------------------------------------


def load_checkpoint(
    model: keras.Model, path: Path | Weights, weight_set: str | None = None
) -> None:
    """Load a checkpoint of any supported format into a model.

    Args:
        model: A model built here.
        path: A path, an address or a record, as for `Checkpoint.open`.
        weight_set: As for `Checkpoint.open`.

    Raises:
        FileNotFoundError: If there is no such file.
        WeightsUnavailableError: If it can't be downloaded.
        CheckpointError: If the file can't be read, doesn't fit the model, or
            contains several sets of weights without a clear choice. The model
            is then unchanged.

    Example:
    >>> model = keras_resnext.ResNeXt50(weights=None, classes=10)
    >>> keras_resnext.load_checkpoint(model, "flowers.safetensors")
    """
    check_type("model", model, keras.Model)
    include_top = any(layer.name == HEAD for layer in model.layers)
    with Checkpoint.open(path, weight_set, include_top) as checkpoint:
        checkpoint.assign(model)


def inspect_checkpoint(
    path: Path | Weights, weight_set: str | None = None
) -> Checkpoint:
    """Return the metadata of a checkpoint file.

    Args:
        path: As for `Checkpoint.open`.
        weight_set: As for `Checkpoint.open`.

    Returns:
        A `Checkpoint` that is closed, without its tensors.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If it can't be read.

    Example:
    >>> keras_resnext.inspect_checkpoint("flowers.safetensors").variants
    ('resnext50_32x4d',)
    """
    with Checkpoint.open(path, weight_set) as checkpoint:
        return checkpoint


def save_torch_checkpoint(
    model: keras.Model, path: Path, layout: str | None = None
) -> None:
    """Save a model's weights as a safetensors file that timm reads.

    `timm.create_model(name, checkpoint_path=path)` opens it, as do
    `keras_resnext` callables with `weights=path`. PyTorch need not be
    installed.

    Args:
        model: As for `to_torch_state_dict`.
        path: As for `Checkpoint.write`.
        layout: As for `to_torch_state_dict`.

    Raises:
        ValueError: If the path has another ending, or as for
            `to_torch_state_dict`.
        OSError: If the file can't be written.

    Example:
    >>> keras_resnext.save_torch_checkpoint(model, "flowers.safetensors")
    """
    Checkpoint.of_model(model, layout).write(path)
