"""Padding alike on both sides, which Keras' "same" is not when it strides."""

from collections.abc import Sequence

PADDINGS = ("symmetric", "valid")

Shape = tuple[int | None, ...]


def is_symmetric(padding: str, window: str, size: Sequence[int]) -> bool:
    """Reads the argument `padding` of a layer whose window has some size.

    Args:
        padding: `"symmetric"` or `"valid"`.
        window: The name of the layer's argument for its window.
        size: Height and width of the window.

    Returns:
        Whether the layer pads.

    Raises:
        ValueError: If `padding` is another word, or if the window is even
            and padded.
    """
    if padding not in PADDINGS:
        raise ValueError(
            f"`padding` must be one of {PADDINGS}. Received: {padding!r}"
        )
    if padding == "symmetric" and any(pixels % 2 == 0 for pixels in size):
        raise ValueError(
            f"Symmetric padding needs an odd `{window}`. "
            f"Received: {tuple(size)}. Use padding='valid'."
        )
    return padding == "symmetric"


def padded(shape: Shape, padding: tuple[int, int], data_format: str) -> Shape:
    """The shape of images after padding that many rows and columns."""
    sizes = list(shape)
    first = 2 if data_format == "channels_first" else 1
    for axis, pixels in enumerate(padding, start=first):
        size = sizes[axis]
        sizes[axis] = None if size is None else size + 2 * pixels
    return tuple(sizes)
