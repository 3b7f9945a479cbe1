"""Linear classifier."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_resnext.checks import check_labels


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
            labels = check_labels(labels, self.units, self.name)
        self._labels = labels

    def quantize(self, mode: Any = None, *args: Any, **kwargs: Any) -> None:
        # Keras refuses subclasses that may compute something else.
        return super().quantize(mode, **{**kwargs, "type_check": False})

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        if self.labels is not None:
            config["labels"] = self.labels
        return config
