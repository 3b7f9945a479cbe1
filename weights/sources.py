"""The checkpoints that the words of a command line stand for."""

import difflib
import fnmatch
import os
from collections.abc import Iterable
from dataclasses import dataclass

import keras

import keras_resnext
from keras_resnext.cli import networks


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
            return networks.from_file(self.path, self.variant, None)
        return keras_resnext.get_model(
            self.name, classifier_activation=None, input_shape=networks.shape()
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
        if networks.is_file(word):
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
