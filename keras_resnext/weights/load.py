"""Fetches, verifies, converts and assigns: weights for a built model."""

import hashlib
import os
import pathlib
import urllib.parse
import uuid
from collections.abc import Iterator

import keras

from keras_resnext.weights import convert
from keras_resnext.weights.catalogue import HubFile
from keras_resnext.weights.catalogue import WebFile
from keras_resnext.weights.catalogue import Weights
from keras_resnext.weights.catalogue import find_weights
from keras_resnext.weights.readers import CheckpointError
from keras_resnext.weights.readers import read_checkpoint

Path = str | os.PathLike[str]

KERAS_SUFFIXES = (".weights.h5", ".keras")


class WeightsUnavailableError(OSError):
    """No source of a checkpoint could be reached."""


def resolve(weights: Path | None, variant: str | None) -> Weights | Path | None:
    """Tells what the argument `weights` of a model stands for.

    Args:
        weights: `None`, `"imagenet"`, a tag, `"variant.tag"` or a path.
        variant: The model's variant, or `None` if it is not in the table.

    Returns:
        `None`, a record of the catalogue, or a path.

    Raises:
        ValueError: If there is neither such a file nor such a checkpoint.
    """
    if weights is None:
        return None
    text = os.fspath(weights)
    if os.path.exists(text) or os.path.dirname(text):
        return text
    if variant is None:
        raise ValueError(
            f"There is no file {text!r}, and only rows of VARIANTS have "
            "published weights. Use weights=None or the path of a file."
        )
    return find_weights(variant, text)


def load(model: keras.Model, source: Weights | Path | None) -> None:
    """Loads what `resolve` returned, and says so in `model.weights_info`."""
    model.weights_info = source if isinstance(source, Weights) else None
    if isinstance(source, Weights):
        load_record(model, source)
    elif source is not None:
        load_file(model, source)


def load_record(model: keras.Model, record: Weights) -> None:
    """Loads a checkpoint of the catalogue into a model built for it.

    Args:
        model: A model of the record's variant, with or without its top.
        record: The checkpoint.

    Raises:
        WeightsUnavailableError: If no source can be reached.
        CheckpointError: If the file is not what the catalogue says, or
            doesn't fit the model, which is then left as it was.
    """
    _assign(
        model, read_checkpoint(fetch(record, _has_head(model))), record.layout
    )


def load_file(model: keras.Model, path: Path) -> None:
    """Loads a file of any kind that can be read into a model.

    Args:
        model: The model.
        path: A timm or torchvision checkpoint (safetensors, `.pth`), a
            legacy `.h5` of keras-applications, or what Keras itself saves.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointError: If the file can't be read or doesn't fit the model,
            which is then left as it was.
    """
    if os.fspath(path).endswith(KERAS_SUFFIXES) and os.path.isfile(path):
        _load_keras_file(model, os.fspath(path))
    else:
        tensors = read_checkpoint(path)
        _assign(model, tensors, convert.detect_layout(tensors))


def fetch(record: Weights, with_head: bool = True) -> pathlib.Path:
    """Returns the path of a checkpoint, downloaded unless it is cached.

    The sources are tried in their order; the next one when one can't be
    reached. What the catalogue knows of a file's hash is checked every time.

    Args:
        record: The checkpoint.
        with_head: Whether the file must hold the classifier.

    Returns:
        A file in the cache of the Hugging Face hub or of Keras.

    Raises:
        WeightsUnavailableError: If no source can be reached.
        CheckpointError: If a file's hash is wrong; it is removed.
    """
    failures = []
    for source in record.sources:
        if with_head and not source.has_top:
            continue
        try:
            path = _download(source)
        # Every library below has its own family of errors; whatever it is,
        # the next source gets its turn and the report names them all.
        except Exception as error:
            failures.append(f"{_address(source)}: {_first_line(error)}")
            continue
        _verify(path, source)
        return path
    raise WeightsUnavailableError(
        f"Can't get the weights '{record.name}'. Check the network, or "
        "download a file elsewhere and pass its path as `weights`. Tried "
        + "; ".join(failures)
    )


def _download(source: HubFile | WebFile) -> pathlib.Path:
    # Imported here: it takes longer than the rest of the package together.
    import huggingface_hub

    if isinstance(source, HubFile):
        return pathlib.Path(
            huggingface_hub.hf_hub_download(
                source.repo_id, source.filename, revision=source.revision
            )
        )
    name = os.path.basename(urllib.parse.urlsplit(source.url).path)
    home = os.environ.get("KERAS_HOME", os.path.join("~", ".keras"))
    folder = pathlib.Path(home).expanduser() / "models"
    path = folder / name
    if path.exists():
        return path
    if huggingface_hub.is_offline_mode():
        raise ConnectionError("offline mode is on (HF_HUB_OFFLINE)")
    # get_file writes in place. Under a name of our own a half-written file,
    # or one that another process writes, is never mistaken for the whole.
    part = keras.utils.get_file(
        f"{name}.{uuid.uuid4().hex}.part",
        source.url,
        cache_subdir=str(folder),
    )
    os.replace(part, path)
    return path


def _verify(path: pathlib.Path, source: HubFile | WebFile) -> None:
    if isinstance(source, HubFile):
        algorithm, expected = "sha256", source.sha256
    elif source.sha256_prefix:
        algorithm, expected = "sha256", source.sha256_prefix
    else:
        algorithm, expected = "md5", source.md5
    if expected is None:
        return
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, algorithm).hexdigest()
    if found.startswith(expected):
        return
    # The hub's cache holds a link to the file proper: both must go.
    path.resolve().unlink(missing_ok=True)
    path.unlink(missing_ok=True)
    raise CheckpointError(
        f"{_address(source)} is not the file it should be: its {algorithm} "
        f"is {found}, expected {expected}. It was removed; load again to "
        "download it anew, and if that repeats, don't trust the source."
    )


def _address(source: HubFile | WebFile) -> str:
    if isinstance(source, WebFile):
        return source.url
    return f"hub file {source.repo_id}/{source.filename}"


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def _load_keras_file(model: keras.Model, path: str) -> None:
    before = model.get_weights()
    try:
        model.load_weights(path)
    except Exception as error:
        model.set_weights(before)
        raise CheckpointError(
            f"'{path}' does not fit the model '{model.name}', or is damaged: "
            f"{_first_line(error)}"
        ) from error


def _assign(model: keras.Model, tensors: convert.Tensors, layout: str) -> None:
    variables = dict(_variables(model))
    values = convert.to_keras(
        tensors,
        {key: tuple(variable.shape) for key, variable in variables.items()},
        [layer.name for layer in model.layers],
        layout,
    )
    for key, value in values.items():
        variables[key].assign(value)


def _variables(
    model: keras.Model,
) -> Iterator[tuple[convert.Variable, keras.Variable]]:
    for layer in model.layers:
        for variable in layer.weights:
            yield (layer.name, variable.name), variable


def _has_head(model: keras.Model) -> bool:
    return any(layer.name == convert.HEAD for layer in model.layers)
