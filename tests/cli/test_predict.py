"""`keras-resnext predict` on many images, some of them unreadable."""

import json
import os
import pathlib

import keras
import numpy as np
import PIL.Image
import pytest

import keras_resnext
from keras_resnext import cli
from keras_resnext import imagenet
from keras_resnext.cli import image_files
from keras_resnext.cli import loading
from keras_resnext.cli import predict
from keras_resnext.cli import printing

pytestmark = pytest.mark.once

NAMES = ["ant", "bee", "cat"]


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Build a small model for each number of channels."""
    config = keras_resnext.ResNeXtConfig(
        depths=(1,),
        grouping=keras_resnext.FixedCardinality(2, 32),
        out_channels=(8,),
        stem=keras_resnext.Stem(widths=(4,), kernel_size=3),
        default_size=8,
    )
    return {
        channels: keras_resnext.ResNeXt(
            config, input_shape=(8, 8, channels), classes=3
        )
        for channels in (1, 3)
    }


@pytest.fixture
def run(capsys, monkeypatch, models):
    """Run the command line with a small model."""

    def run(*words, channels=3):
        model = models[channels]
        monkeypatch.setattr(loading, "load", lambda *_: model)
        status = cli.main(["predict", *map(str, words)])
        return status, *capsys.readouterr()

    return run


def save(name, size=(20, 30), mode="RGB"):
    pathlib.Path(name).parent.mkdir(parents=True, exist_ok=True)
    seed = sum(name.encode())
    pixels = np.random.default_rng(seed).integers(0, 256, size, "uint8")
    PIL.Image.fromarray(pixels).convert(mode).save(name)
    return name


def names(out):
    return [each["image"] for each in json.loads(out)]


def lines(err):
    """Return the lines of standard error, without those of the framework."""
    start = "keras-resnext: "
    return [
        line.removeprefix(start)
        for line in err.splitlines()
        if line.startswith(start)
    ]


def test_bad_images_end_nothing_but_themselves(run):
    good = [save("good.png"), save("b/gray.png", mode="L")]
    thin = [save("wide.png", (1, 2_000_000)), save("tall.png", (2_000_000, 1))]
    cut = pathlib.Path("good.png").read_bytes()
    bad = {
        "missing.png": "There is no file",
        "cut.png": "Can't read",
        "text.jpg": "is not an image",
        "pipe.png": "is not a file",
        "deep.tif": "fractions",
    }
    pathlib.Path("cut.png").write_bytes(cut[: len(cut) // 2])
    pathlib.Path("text.jpg").write_text("text")
    os.mkfifo("pipe.png")
    PIL.Image.new("F", (4, 4)).save("deep.tif")
    words = [*bad, good[0], *thin, *bad, good[1]]
    status, out, err = run(*words, "--json")
    assert status == 1
    assert names(out) == [good[0], *thin, good[1]]
    said = lines(err)
    for line, (name, part) in zip(said, [*bad.items()] * 2, strict=False):
        assert line.startswith("error: ")
        assert f"'{name}'" in line
        assert part in line
    assert said[-1] == "error: Skipped 10 of 14 images."
    assert len(said) == 11
    status, out, err = run(*words)
    assert (status, len(lines(err))) == (1, 11)
    assert [line for line in out.splitlines() if line in words] == [
        *(good[0], *thin, good[1])
    ]


@pytest.mark.parametrize(
    "error", [MemoryError(), FileNotFoundError(2, "Gone"), RecursionError("x")]
)
def test_an_image_that_fails_in_the_middle(run, monkeypatch, error):
    words = [save(f"{i}.png") for i in range(7)]

    def read(path, read=image_files.read):
        if path.name == "3.png":
            raise error
        return read(path)

    monkeypatch.setattr(image_files, "read", read)
    monkeypatch.setattr(predict, "BATCH", 2)
    status, out, err = run(*words, "--json")
    assert status == 1
    assert names(out) == [word for word in words if word != "3.png"]
    assert lines(err)[0].startswith("error: Can't read '3.png': ")
    assert lines(err)[1] == "error: Skipped 1 of 7 images."


@pytest.mark.parametrize("words", [[], ["--json"]])
def test_no_image_at_all(run, monkeypatch, words):
    monkeypatch.setattr(loading, "load", None)  # nothing is loaded
    status, out, err = run("a.png", "b.png", *words)
    assert status == 1
    assert out == ("[]\n" if words else "")
    assert lines(err)[-1] == "error: Skipped 2 of 2 images."


def test_results_come_batch_by_batch(run, monkeypatch):
    words = [save(f"{i}.png") for i in range(5)]
    events = []

    def read(path, read=image_files.read):
        events.append("read")
        return read(path)

    monkeypatch.setattr(predict, "BATCH", 2)
    monkeypatch.setattr(image_files, "read", read)
    monkeypatch.setattr(printing, "show", lambda _: events.append("show"))
    assert run(*words)[0] == 0
    two = ["read"] * 2 + ["show"] * 2
    assert events == [*two, *two, "read", "show"]


def test_json_comes_value_by_value(capsys):
    values = [{"a": [1, {"b": "\u2028\n"}]}, {"c": float("nan")}, "x"]
    seen = []

    def each():
        for value in values:
            yield value
            seen.append(capsys.readouterr().out)

    printing.print_json_list(each())
    whole = "".join(seen) + capsys.readouterr().out
    assert all(seen)
    values[1] = {"c": None}
    wanted = json.dumps(values, indent=2, ensure_ascii=False) + "\n"
    assert whole == wanted
    printing.print_json(values)
    assert capsys.readouterr().out == wanted


def test_a_folder(run):
    wanted = [save(name) for name in ("in/b.png", "in/c.JPG", "in/a/d.png")]
    pathlib.Path("in/text.txt").write_text("text")
    status, out, err = run("in", "--json")
    assert (status, lines(err)) == (0, ["3 images in 'in'."])
    assert names(out) == wanted
    pathlib.Path("none").mkdir()
    status, out, err = run("none", "in", "--json")
    assert status == 1
    assert names(out) == wanted
    assert lines(err)[0] == "error: The folder 'none' has no images."


def test_names_that_are_no_text(run):
    name = os.fsdecode(b"in/\xff\x1b[31m.png")
    pathlib.Path(save("in/a.png")).rename(name)
    for words in (["in"], [name], ["in", "--json"]):
        status, out, err = run(*words)
        assert status == 0
        assert "\x1b" not in out + err
    assert names(out) == [name]


def test_labels(run):
    image = save("a.png")
    pathlib.Path("labels.txt").write_text("\n".join(NAMES) + "\n", "utf-8-sig")
    words = image, "--labels", "labels.txt", "--json"
    status, out, _ = run(*words)
    assert status == 0
    [found] = json.loads(out)
    assert {each["name"] for each in found["classes"]} == set(NAMES)
    for content, part in (
        ("ant\nbee", "2 lines. It must name the 3 classes"),
        ("", "0 lines"),
        (b"\xff\xfe", "UTF-8"),
    ):
        data = content if isinstance(content, bytes) else content.encode()
        pathlib.Path("labels.txt").write_bytes(data)
        status, out, err = run(*words)
        assert (status, out, len(lines(err))) == (1, "", 1)
        assert part in err
    status, out, err = run(image, "--labels", "no.txt")
    assert (status, out) == (1, "")
    assert lines(err) == ["error: No such file or directory: 'no.txt'"]


def test_a_gray_model_sees_gray_images(run, models):
    save("a.png", mode="RGB")
    status, out, _ = run("a.png", "--json", "--gradcam", "b.png", channels=1)
    assert status == 0
    [found] = json.loads(out)
    transform = keras_resnext.EvaluationTransform(9, 8).for_channels(1)
    with PIL.Image.open("a.png") as image:
        x = transform(image.convert("L"))
    wanted = keras.ops.convert_to_numpy(models[1](x[None]))[0]
    np.testing.assert_allclose(
        [each["probability"] for each in found["classes"]],
        sorted(wanted, reverse=True),
        rtol=1e-4,
    )


def test_output_that_is_not_finite(run, models, monkeypatch):
    words = [save(f"{i}.png") for i in range(3)]

    def predict_on_batch(x):
        y = np.full((len(x), 3), 1 / 3, "float32")
        y[1, 0] = np.nan
        return y

    monkeypatch.setattr(models[3], "predict_on_batch", predict_on_batch)
    status, out, err = run(*words, "--json", "--gradcam", "sheet.png")
    assert status == 1
    rows = json.loads(out, parse_constant=pytest.fail)
    assert [row["image"] for row in rows] == words
    assert [bool(row["classes"]) for row in rows] == [True, False, True]
    assert "NaN" in rows[1]["error"]
    assert lines(err)[0].startswith("error: Can't classify '1.png': ")
    status, out, _ = run(*words)
    assert status == 1
    assert "nan" not in out
    with PIL.Image.open("sheet.png") as sheet:
        assert sheet.size == (640, 2 * 352)  # original, heat map; caption


def test_gradcam_draws_so_many(run, monkeypatch):
    monkeypatch.setattr(predict, "MAX_DRAWN", 3)
    monkeypatch.setattr(predict, "BATCH", 2)
    words = [save(f"{i}.png") for i in range(6)]
    status, out, err = run(*words, "--json", "--gradcam", "sheet.png")
    assert (status, len(names(out))) == (0, 6)
    assert lines(err) == ["--gradcam draws the first 3 of 6 images."]
    with PIL.Image.open("sheet.png") as sheet:
        assert sheet.size == (640, 3 * 352)
        for top in range(0, sheet.height, 352):  # each caption is written
            caption = sheet.crop((0, top + 320, 320, top + 352)).convert("L")
            assert caption.getextrema() == (0, 255)


def test_imagenet_has_word_net_ids():
    y = np.eye(1000, dtype="float32")[:2]
    known = [each.name for each in imagenet.classes()]
    ((first,), _) = predict.best(y, 1, known)
    assert (first["name"], first["wnid"]) == ("tench", "n01440764")
    ((first,), _) = predict.best(y, 1, [f"my {i}" for i in range(1000)])
    assert first == {"name": "my 0", "probability": 1.0}
