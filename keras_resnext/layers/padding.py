"""Symmetric padding, unlike Keras' "same" with strides."""

from typing import Any

import keras
import numpy as np

PADDINGS = ("symmetric", "valid")

Shape = tuple[int | None, ...]


class SymmetricPadding(keras.layers.Layer):
    """Padding before a layer of Keras that was created with `padding="valid"`.

    Attributes:
        symmetric: Whether the layer pads.
        pixels: Number of rows and columns to pad on each side.
    """

    def pad(
        self,
        padding: str,
        window: str,
        size: tuple[int, int],
        dilation_rate: tuple[int, int] = (1, 1),
    ) -> None:
        """Set a layer's padding from its argument `padding`.

        Args:
            padding: `"symmetric"` or `"valid"`.
            window: Name of the layer's argument for its window.
            size: Height and width of the window.
            dilation_rate: Distance of the window's taps.

        Raises:
            ValueError: If `padding` is unknown, or the window is even and
                padded.
        """
        if padding not in PADDINGS:
            raise ValueError(
                f"`padding` must be one of {PADDINGS}. Received: {padding!r}"
            )
        self.symmetric = padding == "symmetric"
        if self.symmetric and any(pixels % 2 == 0 for pixels in size):
            raise ValueError(
                f"Symmetric padding needs an odd `{window}`. "
                f"Received: {tuple(size)}. Use padding='valid'."
            )
        reach = np.subtract(size, 1) * dilation_rate // 2
        rows, columns = (reach * self.symmetric).tolist()
        self.pixels = (rows, columns)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        padded = list(input_shape)
        first = 2 if self.data_format == "channels_first" else 1
        for axis, pixels in enumerate(self.pixels, start=first):
            size = padded[axis]
            padded[axis] = None if size is None else size + 2 * pixels
        return super().compute_output_shape(tuple(padded))

    def get_config(self) -> dict[str, Any]:
        padding = "symmetric" if self.symmetric else "valid"
        return {**super().get_config(), "padding": padding}
