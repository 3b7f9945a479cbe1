"""Picture files of every kind, as what a network was trained on: RGB."""

import pathlib
import warnings

import numpy as np
import PIL.Image
import PIL.ImageOps


def check(path: pathlib.Path) -> None:
    """Refuses what can be refused by a file's first bytes.

    Raises:
        ValueError: If there is no such file, or it is not a picture.
    """
    _open(path).close()


def read(path: pathlib.Path) -> PIL.Image.Image:
    """Reads a picture, turned upright as its camera says; of several the first.

    Returns:
        A PIL image of mode RGB. Transparency is dropped, and of 16 bits the
        upper 8 are taken.

    Raises:
        ValueError: If the file is damaged, or no picture of whole numbers.
    """
    with _open(path) as image:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return _to_rgb(PIL.ImageOps.exif_transpose(image))
        # Whatever a damaged file makes Pillow stumble over.
        except Exception as error:
            raise _unreadable(path, error) from error


def _open(path: pathlib.Path) -> PIL.Image.Image:
    try:
        with warnings.catch_warnings():
            # Of pictures of more than 89 million pixels; 179 are an error.
            warnings.simplefilter("ignore")
            return PIL.Image.open(path)
    except PIL.UnidentifiedImageError:
        raise ValueError(f"'{path}' is not a picture.") from None
    except FileNotFoundError:
        raise ValueError(f"There is no file '{path}'.") from None
    except Exception as error:
        raise _unreadable(path, error) from error


def _unreadable(path: pathlib.Path, error: Exception) -> ValueError:
    text = getattr(error, "strerror", None) or str(error)
    reason = text.strip().partition("\n")[0] or type(error).__name__
    return ValueError(f"Can't read '{path}': {reason}")


def _to_rgb(image: PIL.Image.Image) -> PIL.Image.Image:
    if image.mode[0] == "I":  # 16 bits, in a mode of 16 or of 32
        values = np.asarray(image).astype("int64")
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("it has more than 16 bits per channel")
        image = PIL.Image.fromarray((values >> 8).astype("uint8"))
    elif image.mode == "F":
        raise ValueError("its pixels are fractions, of an unknown range")
    elif image.mode == "P":  # whose transparency may be more than one colour
        image = image.convert("RGBA")
    return image.convert("RGB")
