"""Resizing and cropping with PIL, as torchvision does."""

import math

import numpy as np
from PIL import Image

FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}
# Radius of the widest filter, bicubic, in source pixels.
_REACH = 2
# Ratio of the sides above which only the part inside the crop is resized: a
# whole JPEG of 1 x 65,500 pixels would take 17 GB.
_LONG = 64

Box = tuple[int, int, int, int]


def resize_and_crop(
    image: Image.Image, resize: int, crop: int, interpolation: str
) -> Image.Image:
    """Resize an image and crop its center, as torchvision does.

    Args:
        image: The image, of at least one pixel.
        resize: Length of the shorter side after resizing, in pixels.
        crop: Height and width of the crop, in pixels.
        interpolation: A key of `FILTERS`.

    Returns:
        An image of `crop` by `crop` pixels, padded with black if the resized
        image is smaller.
    """
    width, height = image.size
    short, long = sorted((width, height))
    if not short:
        raise ValueError(f"`image` has no pixels: its size is {image.size}.")
    # int(), not round(): torchvision rounds the longer side down.
    longer = int(resize * long / short)
    size = (resize, longer) if width <= height else (longer, resize)
    left, top = (_crop_start(length, crop) for length in size)
    box = (left, top, left + crop, top + crop)
    if long > _LONG * short:
        image, box = _resize_part(image, size, box, interpolation)
    else:
        image = image.resize(size, FILTERS[interpolation])
    # PIL fills the part of a crop outside the image with zeros.
    return image.crop(box)


def to_mode(image: Image.Image | np.ndarray, mode: str) -> Image.Image:
    """Convert an image or an array of 8 bits per channel to a mode of PIL.

    Args:
        image: PIL image, or uint8 array of shape `(height, width, 3)`,
            `(height, width, 1)` or `(height, width)`.
        mode: `"RGB"` or `"L"` (gray).

    Raises:
        TypeError: If `image` is neither a PIL image nor an array.
        ValueError: If it has another shape, or not 8 bits per channel.
    """
    if isinstance(image, Image.Image):
        # PIL would clip more than 8 bits to white.
        if image.mode[0] in "IF":
            raise ValueError(
                "`image` must have 8 bits per channel. Received a PIL image "
                f"of mode {image.mode!r}; scale it to [0, 255] first."
            )
        # `convert` would copy an image that already has the mode.
        return image if image.mode == mode else image.convert(mode)
    if not isinstance(image, np.ndarray):
        raise TypeError(
            "`image` must be a PIL image or a NumPy array. Received: "
            f"{type(image).__name__}"
        )
    if image.dtype != np.uint8:
        raise ValueError(
            "`image` must be of dtype uint8, pixels in [0, 255], since PIL "
            f"resizes it. Received dtype: {image.dtype}"
        )
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[..., 0]
    if image.ndim != 2 and (image.ndim != 3 or image.shape[2] != 3):
        raise ValueError(
            "`image` must be one image of shape (height, width, 3), "
            "(height, width, 1) or (height, width). Received shape: "
            f"{image.shape}"
        )
    if not image.size:
        raise ValueError(f"`image` has no pixels. Its shape: {image.shape}")
    return to_mode(Image.fromarray(image), mode)


def _resize_part(
    image: Image.Image, size: tuple[int, int], box: Box, interpolation: str
) -> tuple[Image.Image, Box]:
    """Resize the part of an image that a crop of the resized image needs.

    Args:
        image: The image.
        size: Width and height to resize the whole image to.
        box: The crop, in pixels of the resized image.
        interpolation: Name of the filter.

    Returns:
        The resized part, and the crop in pixels of that part.
    """
    axes = []
    for old, new, start, end in zip(
        image.size, size, box[:2], box[2:], strict=True
    ):
        start, end = max(start, 0), min(end, new)
        scale = old / new
        # All pixels that the filter reaches. PIL's own box has single
        # precision, so a part of whole pixels is cropped first.
        reach = _REACH * max(scale, 1) + 1
        first = max(math.floor(start * scale - reach), 0)
        last = min(math.ceil(end * scale + reach), old)
        axes.append((start, end, scale, first, last))
    (left, right, x_scale, x_first, x_last), y_axis = axes
    top, bottom, y_scale, y_first, y_last = y_axis
    part = image.crop((x_first, y_first, x_last, y_last)).resize(
        (right - left, bottom - top),
        FILTERS[interpolation],
        box=(
            left * x_scale - x_first,
            top * y_scale - y_first,
            min(right * x_scale - x_first, x_last - x_first),
            min(bottom * y_scale - y_first, y_last - y_first),
        ),
    )
    return part, (box[0] - left, box[1] - top, box[2] - left, box[3] - top)


def _crop_start(length: int, crop: int) -> int:
    if length < crop:
        # The odd pixel of padding goes to the end, as in torchvision.
        return -((crop - length) // 2)
    return round((length - crop) / 2)
