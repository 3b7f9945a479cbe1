"""Checkpoints by name, pattern or path."""

import difflib
import fnmatch
import os
from collections.abc import Iterable
from dataclasses import dataclass

import keras

import keras_resnext
from keras_resnext.cli import loading
from keras_resnext.data.evaluation import Classifier


def records(word: str) -> list[keras_resnext.Weights]:
    """Return the published checkpoints that match a name or pattern.

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
        variant: Name of the variant, `None` if the file names it.
        record: The published checkpoint, or the one whose transform applies
            to a file.
    """

    name: str
    path: str | None
    variant: str | None
    record: keras_resnext.Weights | None

    @property
    def tag(self) -> str:
        """Tag of a published checkpoint, or path of a file."""
        return self.name if self.path else self.name.partition(".")[2]

    @property
    def classes(self) -> int | None:
        """Number of classes of a published checkpoint."""
        if self.path is not None or self.record is None:
            return None
        return self.record.classes

    def classifier(self, size: int | None) -> Classifier:
        """Return the classifier, for images of a size or of its own."""
        if loading.is_exported(self.name):
            return loading.exported(self.name, size)
        model = self._build()
        transform = (
            keras_resnext.evaluation_transform(self.record, size)
            if self.record
            else loading.transform_for(model, size)
        )
        return Classifier.of_model(model, transform)

    def _build(self) -> keras.Model:
        """Build the model to return logits; rounded probabilities can tie."""
        if self.path is not None:
            return loading.from_file(self.path, self.variant, None)
        return keras_resnext.get_model(
            self.name, classifier_activation=None, input_shape=loading.shape()
        )


def subjects(words: Iterable[str], model: str | None) -> list[Subject]:
    """Return the checkpoints that the words of a command line name.

    Args:
        words: Names, patterns and paths.
        model: `"variant"` or `"variant.tag"` of the files.

    Raises:
        ValueError: If a word matches nothing.
    """
    variant, _, tag = (model or "").partition(".")
    if variant and variant not in keras_resnext.list_models():
        raise ValueError(
            f"There is no variant '{variant}'. Variants: "
            f"{', '.join(keras_resnext.list_models())}."
        )
    record = records(f"{variant}.{tag}")[0] if tag else None
    found = []
    for word in words:
        if loading.is_file(word):
            if not os.path.exists(word):
                raise ValueError(f"There is no file '{word}'.")
            found.append(Subject(word, word, variant or None, record))
        elif model:
            raise ValueError(f"'{word}' names its model: leave --model out.")
        else:
            found += [
                Subject(r.name, None, r.variant, r) for r in records(word)
            ]
    return list(dict.fromkeys(found))
