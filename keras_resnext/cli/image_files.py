"""Image files of every kind, read as RGB."""

import os
import pathlib
import stat
import warnings
from collections.abc import Callable
from collections.abc import Iterator

import numpy as np
import PIL.Image
import PIL.ImageOps

from keras_resnext.cli import Failure

# Endings of the files that are searched for in a folder.
ENDINGS = (
    *(".avif", ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".jp2"),
    *(".png", ".tif", ".tiff", ".webp"),
)


class ImageError(Failure):
    """An image can't be read; the message is one sentence."""


def find(
    folder: pathlib.Path, on_error: Callable[[ImageError], object]
) -> Iterator[pathlib.Path]:
    """List the images in a folder and the folders inside it, sorted.

    Names that begin with a dot and links to folders are skipped.

    Args:
        folder: The folder.
        on_error: Called for each folder that can't be read.
    """

    def report(error: OSError) -> None:
        on_error(unreadable(pathlib.Path(error.filename), error))

    for root, folders, files in os.walk(folder, onerror=report):
        folders[:] = sorted(name for name in folders if name[0] != ".")
        for name in sorted(files):
            if name[0] != "." and name.lower().endswith(ENDINGS):
                yield pathlib.Path(root, name)


def check(path: pathlib.Path) -> None:
    """Refuse a file that is not an image by its type and first bytes.

    Raises:
        ImageError: If there is no such file, or it is not an image.
    """
    _open(path).close()


def read(path: pathlib.Path) -> PIL.Image.Image:
    """Read the first image of a file, upright by its EXIF orientation.

    Returns:
        A PIL image of mode RGB. Transparency and the lower 8 of 16 bits are
        dropped.

    Raises:
        ImageError: If the file is damaged or too large, or its pixels are
            not whole numbers.
    """
    with _open(path) as image:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                image.load()
                PIL.ImageOps.exif_transpose(image, in_place=True)
                return _to_rgb(image)
        # On damaged bytes Pillow raises whatever its decoders do.
        except Exception as error:
            raise unreadable(path, error) from error


def _open(path: pathlib.Path) -> PIL.Image.Image:
    try:
        # Opening a pipe would wait for a writer.
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise ImageError(f"'{path}' is not a file.")
        with warnings.catch_warnings():
            # Pillow warns from half the limit on.
            warnings.simplefilter("ignore")
            image = PIL.Image.open(path)
    except PIL.UnidentifiedImageError:
        raise ImageError(f"'{path}' is not an image.") from None
    except PIL.Image.DecompressionBombError:
        limit = 2 * (PIL.Image.MAX_IMAGE_PIXELS or 0)
        raise ImageError(
            f"'{path}' has more than {limit:,} pixels. Scale it down first."
        ) from None
    except FileNotFoundError:
        raise ImageError(f"There is no file '{path}'.") from None
    except Exception as error:
        raise unreadable(path, error) from error
    if image.format == "EPS":
        image.close()
        raise ImageError(f"'{path}' is a program in PostScript, not an image.")
    return image


def unreadable(path: pathlib.Path, error: Exception) -> ImageError:
    """Return an error of one sentence that names the file."""
    if isinstance(error, ImageError):
        return error
    text = getattr(error, "strerror", None) or str(error)
    reason = text.strip().partition("\n")[0] or type(error).__name__
    return ImageError(f"Can't read '{path}': {reason}")


def _to_rgb(image: PIL.Image.Image) -> PIL.Image.Image:
    if image.mode[0] == "I":  # 16 bits, in a mode of 16 or 32
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("it has more than 16 bits per channel")
        image = PIL.Image.fromarray((values >> 8).astype("uint8"))
    elif image.mode == "F":
        raise ValueError("its pixels are fractions, of an unknown range")
    elif image.mode == "P":  # whose transparency may be more than one color
        image = image.convert("RGBA")
    # A copy doubles the memory, and only a file of several images needs one.
    if image.mode == "RGB" and not getattr(image, "is_animated", False):
        return image
    return image.convert("RGB")
