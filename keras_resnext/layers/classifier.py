"""Linear classifier."""

import numbers
from collections.abc import Sequence
from typing import Any

import keras


@keras.saving.register_keras_serializable(package="keras_resnext")
class Classifier(keras.layers.Dense):
    """Dense layer that stores the names of its classes.

    Saving, pickling and cloning any model that ends in the layer preserves the
    names. `keras_resnext.get_data_config(model)` returns them.

    Args:
        units: Number of classes.
        labels: Names of the classes in the order of the outputs, or `None`.
        **kwargs: Other arguments of `keras.layers.Dense`.

    Call arguments:
        inputs: Features, `(batch, channels)`.

    Returns:
        Logits or, after an activation, probabilities, `(batch, units)`.

    Raises:
        ValueError: If `labels` are not one line of text for each class.

    Example:
    >>> backbone = keras_resnext.ResNeXt50(
    ...     include_top=False, weights=None, pooling="avg"
    ... )
    >>> outputs = keras_resnext.layers.Classifier(
    ...     2, labels=["cat", "dog"], activation="softmax"
    ... )(backbone.output)
    >>> model = keras.Model(backbone.input, outputs)
    """

    def __init__(
        self, units: int, labels: Sequence[str] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(units, **kwargs)
        self.labels = labels

    @property
    def labels(self) -> tuple[str, ...] | None:
        """Names of the classes, or `None`."""
        return self._labels

    @labels.setter
    def labels(self, labels: Sequence[str] | None) -> None:
        if labels is not None:
            if isinstance(labels, str) or len(labels) != self.units:
                raise ValueError(
                    f"`labels` must name the {self.units} classes of "
                    f"'{self.name}'. Received {len(labels)} names."
                )
            labels = tuple(map(str, labels))
            if any(len(label.splitlines()) != 1 for label in labels):
                raise ValueError("Each of `labels` must be one line of text.")
        self._labels = labels

    def quantize(self, mode: Any = None, *args: Any, **kwargs: Any) -> None:
        # Keras refuses subclasses that may compute something else.
        return super().quantize(mode, **{**kwargs, "type_check": False})

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        if self.labels is not None:
            config["labels"] = self.labels
        return config


def check_classes(classes: Any) -> None:
    """Check a number of classes.

    Raises:
        ValueError: If it is not a positive whole number.
    """
    if not isinstance(classes, numbers.Integral) or classes < 1:
        raise ValueError(
            f"`classes` must be a positive whole number. Received: {classes!r}"
        )
