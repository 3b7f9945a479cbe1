"""What the words of a command line mean: networks, and weights for them."""

import contextlib
import difflib
import fnmatch
import math
import os
import pathlib
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import keras
import rich.console
import rich.markup

import keras_resnext

SUFFIXES = (".bin", ".h5", ".keras", ".pt", ".pth", ".safetensors")


def is_file(word: str) -> bool:
    """Whether a word is the path of a file rather than a checkpoint's name."""
    return bool(
        os.path.dirname(word) or word.endswith(SUFFIXES) or os.path.isfile(word)
    )


def records(word: str) -> list[keras_resnext.Weights]:
    """The published checkpoints that a word stands for.

    Args:
        word: `"all"`, or a name or a shell-style pattern, `"variant"` or
            `"variant.tag"`.

    Raises:
        ValueError: If there are none.
    """
    rows = keras_resnext.list_weights()
    if word == "all":
        return rows
    found = [
        row
        for row in rows
        if fnmatch.fnmatchcase(row.variant, word)
        or fnmatch.fnmatchcase(row.name, word)
    ]
    if not found:
        known = [row.name for row in rows]
        near = difflib.get_close_matches(word, known, n=3)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        raise ValueError(
            f"There is no published checkpoint and no file '{word}'.{hint}"
        )
    return found


def from_file(
    path: str, variant: str | None, activation: str | None = "softmax"
) -> keras.Model:
    """Builds the network that a file holds, for pictures of any size.

    Args:
        path: A file of any kind that can be read.
        variant: A name of `list_models()`, `None` where the file tells; a
            `.keras` file always does.
        activation: Of the classifier, unless a `.keras` file tells.

    Raises:
        ValueError: If the file can't be read, or the variant is neither
            told nor given, or the wrong one.
        OSError: If there is no such file.
    """
    info = keras_resnext.inspect_checkpoint(path)
    if path.endswith(".keras"):
        return _from_keras(path)
    if variant is None:
        if len(info.variants) != 1:
            fitting = " or ".join(info.variants)
            raise ValueError(
                f"'{path}' does not tell its network"
                + (f", which is {fitting}" if fitting else "")
                + ". Name it with --model."
            )
        (variant,) = info.variants
    return keras_resnext.get_model(
        variant,
        weights=pathlib.Path(path),
        include_top=info.classes is not None,
        classes=info.classes or 1000,
        classifier_activation=activation,
        input_shape=any_size(),
    )


@dataclass(frozen=True)
class Subject:
    """A checkpoint to measure: a published one, or a file.

    Args:
        name: The checkpoint's name, or the file's path.
        path: The path, `None` for a published one.
        variant: The network, `None` if the file tells.
        record: The checkpoint, or the one whose transform the file takes.
    """

    name: str
    path: str | None
    variant: str | None
    record: keras_resnext.Weights | None

    @property
    def tag(self) -> str:
        """The checkpoint's; of a file the path."""
        return self.name if self.path else self.name.partition(".")[2]

    @property
    def classes(self) -> int | None:
        """How many it tells apart, of a published one."""
        published = self.path is None and self.record is not None
        return self.record.classes if published else None

    def build(self) -> keras.Model:
        """The network, for logits, since probabilities can round to equals."""
        if self.path is not None:
            return from_file(self.path, self.variant, None)
        return keras_resnext.get_model(
            self.name, classifier_activation=None, input_shape=any_size()
        )


def subjects(words: Iterable[str], model: str | None) -> list[Subject]:
    """What the words of a command line stand for.

    Args:
        words: Names, patterns and paths.
        model: `"variant"` or `"variant.tag"`, which hold for the files.

    Raises:
        ValueError: If a word stands for nothing.
    """
    variant, _, tag = (model or "").partition(".")
    if variant and variant not in keras_resnext.list_models():
        raise ValueError(
            f"There is no variant '{variant}', but "
            f"{', '.join(keras_resnext.list_models())}."
        )
    record = records(f"{variant}.{tag}")[0] if tag else None
    found = []
    for word in words:
        if is_file(word):
            if not os.path.isfile(word):
                raise ValueError(f"There is no file '{word}'.")
            found.append(Subject(word, word, variant or None, record))
        elif model:
            raise ValueError(f"'{word}' names its network; no --model then.")
        else:
            found += [
                Subject(r.name, None, r.variant, r) for r in records(word)
            ]
    return list(dict.fromkeys(found))


def reading(word: str) -> AbstractContextManager:
    """Says on a terminal what it takes a while to read."""
    console = rich.console.Console(stderr=True)
    if is_file(word):
        return console.status(f"Reading {rich.markup.escape(word)}")
    if console.is_terminal:
        # A line that stands still: a download draws bars of its own.
        console.print(f"Getting {word}", markup=False)
    return contextlib.nullcontext()


def any_size() -> tuple[int | None, ...]:
    """The shape of pictures in colour, whose size is left open."""
    if keras.config.image_data_format() == "channels_first":
        return (3, None, None)
    return (None, None, 3)


def num_parameters(model: keras.Model) -> int:
    """As they are published: without what batch normalization counts."""
    return sum(
        math.prod(variable.shape)
        for variable in model.weights
        if not variable.name.startswith("moving_")
    )


def _from_keras(path: str) -> keras.Model:
    try:
        return keras.saving.load_model(path, compile=False)
    # Whatever a file's own configuration makes Keras stumble over.
    except Exception as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ValueError(f"Can't open '{path}': {reason}") from error
