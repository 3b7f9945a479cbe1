"""Images of every kind become RGB, or are refused in one sentence."""

import io
import os
import socket

import numpy as np
import PIL.Image
import pytest

from keras_resnext.cli import image_files

pytestmark = pytest.mark.once

RED = (255, 0, 0)


def save(tmp_path, image, name, **options):
    image.save(tmp_path / name, **options)
    return tmp_path / name


def pixel(path, where=(0, 0)):
    image = image_files.read(path)
    assert image.mode == "RGB"
    return image.getpixel(where)


def plain(mode="RGB", color=RED):
    return PIL.Image.new(mode, (40, 30), color)


@pytest.mark.parametrize(
    ("image", "name", "expected"),
    [
        (plain(), "rgb.png", RED),
        (plain("L", 100), "gray.png", (100, 100, 100)),
        (plain("LA", (100, 50)), "gray-alpha.png", (100, 100, 100)),
        (plain("1", 1), "bits.png", (255, 255, 255)),
        (plain("RGBA", (*RED, 9)), "rgba.png", RED),
        (plain().convert("P"), "palette.png", RED),
        (plain("CMYK", (0, 255, 255, 0)), "cmyk.tif", RED),
        (plain("I;16", 25700), "gray16.png", (100, 100, 100)),
        (plain("I", 25700), "gray32.tif", (100, 100, 100)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_mode(tmp_path, image, name, expected):
    path = save(tmp_path, image, name)
    image_files.check(path)
    assert pixel(path) == expected


def test_transparent_palettes_do_not_warn(tmp_path):
    path = save(
        tmp_path, plain().convert("P"), "p.png", transparency=bytes([9] * 256)
    )
    assert pixel(path) == RED


def test_turned_upright(tmp_path):
    image = PIL.Image.new("RGB", (40, 30), "white")
    image.paste(RED, (0, 0, 20, 30))
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    path = save(tmp_path, image, "turned.png", exif=exif)
    assert image_files.read(path).size == (30, 40)
    assert pixel(path, (0, 0)) == pixel(path, (29, 0)) == RED
    assert pixel(path, (0, 39)) == (255, 255, 255)


def test_of_an_animation_the_first(tmp_path):
    others = [plain(color=(0, 0, 255))]
    path = save(
        tmp_path, plain(), "moving.gif", save_all=True, append_images=others
    )
    assert pixel(path) == RED


def noise():
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), "uint8")
    return PIL.Image.fromarray(pixels)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_truncated_images_are_refused(tmp_path, kind, share):
    file = io.BytesIO()
    noise().save(file, kind)
    data = file.getvalue()
    path = tmp_path / "cut"
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(image_files.ImageError, match=f"'{path}'") as caught:
        image_files.read(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (plain("F", 0.5), "fractions"),
        (plain("I", 70000), "more than 16 bits"),
        (plain("I", -1), "more than 16 bits"),
    ],
)
def test_unknown_ranges_are_refused(tmp_path, image, reason):
    path = save(tmp_path, image, "deep.tif")
    with pytest.raises(image_files.ImageError, match=reason):
        image_files.read(path)


def test_of_an_animation_in_color_the_first(tmp_path):
    others = [plain(color=(0, 0, 255))]
    for name in ("moving.webp", "pages.tif", "moving.png"):
        path = save(
            tmp_path, plain(), name, save_all=True, append_images=others
        )
        assert pixel(path)[2] < 128


def test_other_files_are_refused(tmp_path):
    (tmp_path / "text.jpg").write_text("no image")
    (tmp_path / "empty.png").touch()
    (tmp_path / "endless.eps").write_text(
        "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"
        "%%EndComments\n{} loop\n"
    )
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "link.png").symlink_to(tmp_path / "pipe.png")
    (tmp_path / "lost.png").symlink_to(tmp_path / "nowhere.png")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket.png"))
    for name, match in (
        ("missing.jpg", "There is no file"),
        ("lost.png", "There is no file"),
        ("text.jpg", "is not an image"),
        ("empty.png", "is not an image"),
        ("endless.eps", "PostScript"),
        ("pipe.png", "is not a file"),
        ("link.png", "is not a file"),
        ("socket.png", "is not a file"),
        ("/dev/zero", "is not a file"),
        (".", "is not a file"),
        ("text.jpg/a.png", "Not a directory"),
        ("a" * 300, "File name too long"),
    ):
        for read in (image_files.check, image_files.read):
            with pytest.raises(image_files.ImageError, match=match) as caught:
                read(tmp_path / name)
            assert name in str(caught.value)


def test_enormous_images_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 500)
    path = save(tmp_path, plain(), "large.png")
    with pytest.raises(image_files.ImageError, match="more than 1,000 pixels"):
        image_files.check(path)


def test_images_of_a_folder(tmp_path):
    for name in (
        *("b.PNG", "a.jpeg", "c.txt", ".hidden.png", "model.h5"),
        *("z/d.webp", "z/.e/f.png", "z/y/g.Tif", "z/h.pdf"),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "z" / "round").symlink_to(tmp_path)
    errors = []
    found = image_files.find(tmp_path, errors.append)
    assert [path.relative_to(tmp_path).as_posix() for path in found] == [
        *("a.jpeg", "b.PNG", "z/d.webp", "z/y/g.Tif")
    ]
    assert not errors
    assert not list(image_files.find(tmp_path / "no", errors.append))
    assert "No such file" in str(errors[0])
