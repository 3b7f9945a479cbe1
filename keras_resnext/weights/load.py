"""Fetches, verifies, converts and assigns: weights for a built model."""

import contextlib
import hashlib
import os
import pathlib
import re
import urllib.parse
import urllib.request
import uuid
import warnings
import zipfile
from collections.abc import Iterator

import h5py
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
# Seconds that a server may stay silent, and bytes that are read at a time.
TIMEOUT = 30
CHUNK = 1 << 20


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
    # A bare word may also name a folder, and "imagenet" often does.
    if text is not weights or os.path.dirname(text) or os.path.isfile(text):
        return text
    if variant is None:
        raise ValueError(
            f"There is no file {text!r}, and only rows of VARIANTS have "
            "published weights. Use weights=None or the path of a file."
        )
    return find_weights(variant, text)


def load(model: keras.Model, source: Weights | Path | None) -> None:
    """Loads what `resolve` returned, and says so in `model.weights_info`."""
    if isinstance(source, Weights):
        load_record(model, source)
    elif source is not None:
        load_file(model, source)
    model.weights_info = source if isinstance(source, Weights) else None


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

    What is in a cache is used without asking the network. Else the sources
    are tried in their order, the next one when one can't be reached. What the
    catalogue knows of a file's hash is checked every time.

    Args:
        record: The checkpoint.
        with_head: Whether the file must hold the classifier.

    Returns:
        A file in the cache of the Hugging Face hub or of Keras.

    Raises:
        WeightsUnavailableError: If no source can be reached.
        CheckpointError: If a file's hash is wrong; it is removed.
    """
    sources = [s for s in record.sources if s.has_top or not with_head]
    for source in sources:
        cached = _cached(source)
        if cached is not None:
            _verify(cached, source)
            return cached
    failures = []
    for source in sources:
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


# huggingface_hub is imported in functions, as it takes longer than the rest of
# the package together.


def _cached(source: HubFile | WebFile) -> pathlib.Path | None:
    import huggingface_hub

    if isinstance(source, WebFile):
        path = _web_path(source)
        return path if path.is_file() else None
    found = huggingface_hub.try_to_load_from_cache(
        source.repo_id, source.filename, revision=source.revision
    )
    # Apart from a path and None there is a mark for files that don't exist.
    return pathlib.Path(found) if isinstance(found, str) else None


def _download(source: HubFile | WebFile) -> pathlib.Path:
    import huggingface_hub
    from huggingface_hub import constants

    if isinstance(source, HubFile):
        return pathlib.Path(
            huggingface_hub.hf_hub_download(
                source.repo_id, source.filename, revision=source.revision
            )
        )
    if constants.HF_HUB_OFFLINE:
        raise ConnectionError("offline mode is on (HF_HUB_OFFLINE)")
    path = _web_path(source)
    _download_web(source.url, path)
    return path


def _web_path(source: WebFile) -> pathlib.Path:
    home = os.environ.get("KERAS_HOME", os.path.join("~", ".keras"))
    name = os.path.basename(urllib.parse.urlsplit(source.url).path)
    return pathlib.Path(home).expanduser() / "models" / name


def _download_web(url: str, path: pathlib.Path) -> None:
    """Downloads under a name of its own, and renames what is whole.

    So no half file, nor one that another process writes, is ever trusted.
    `keras.utils.get_file` waits for a silent server for ever.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
    # Some servers refuse urllib's own name.
    request = urllib.request.Request(url, headers={"User-Agent": __package__})
    try:
        with (
            urllib.request.urlopen(request, timeout=TIMEOUT) as response,
            part.open("xb") as file,
        ):
            size = int(response.headers.get("Content-Length", 0)) or None
            bar = keras.utils.Progbar(size, unit_name="byte")
            while chunk := response.read(CHUNK):
                file.write(chunk)
                bar.update(file.tell())
            if size not in (None, file.tell()):
                raise ConnectionError(
                    f"cut after {file.tell():,} of {size:,} bytes"
                )
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


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


def _first_line(error: BaseException) -> str:
    line = str(error).strip().partition("\n")[0] or type(error).__name__
    # The hub's errors say that something happened, and their causes what.
    cause = str(error.__cause__ or "")
    return line if cause in line else f"{line} ({cause})"


def _load_keras_file(model: keras.Model, path: str) -> None:
    before = model.get_weights()
    try:
        # Keras itself passes over layers that only the file has.
        own = {layer.name for layer in model.layers} | {convert.HEAD}
        unknown = sorted(_stored_layers(path) - own)
        if unknown:
            raise ValueError(f"it holds {len(unknown)} more: {unknown[0]}...")
        with warnings.catch_warnings():
            # Keras warns of containers that hold what it then fails to load.
            warnings.simplefilter("ignore", UserWarning)
            model.load_weights(path)
    except Exception as error:
        model.set_weights(before)
        raise CheckpointError(
            f"'{path}' does not fit the model '{model.name}', or is damaged: "
            f"{_first_line(error).rstrip(':')}"
        ) from error


def _stored_layers(path: str) -> set[str]:
    """The names of our layers whose variables a file of Keras holds."""
    with contextlib.ExitStack() as stack:
        file: object = path
        if path.endswith(".keras"):
            archive = stack.enter_context(zipfile.ZipFile(path))
            file = stack.enter_context(archive.open("model.weights.h5"))
        layers = stack.enter_context(h5py.File(file, "r"))["layers"]
        stored = [layer["vars"] for layer in layers.values() if "vars" in layer]
        names = {str(v.attrs.get("name")) for v in stored if len(v)}
    return {name for name in names if re.fullmatch(convert.OUR_LAYERS, name)}


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
