"""The command `evaluate`: known accuracies, and wrong arguments."""

import contextlib
import csv
import pathlib

import color_models
import hub_cache
import keras
import pytest
from color_models import MODEL
from color_models import SIZE
from hub_cache import RECORD
from run_script import assert_one_sentence
from run_script import run_commands
from small_variants import shrink

import keras_resnext

pytestmark = pytest.mark.once

UNAVAILABLE = "gcresnext26ts.ch_in1k"
ON_COLORS = ["--dataset", "colors"]
ON_TFDS = ["--dataset", "plain_colors", "--data-dir", "tfds"]
ON_WORDNET = ["--dataset", "wordnet"]

# Top-1 and top-5, images and their size.
MEASURED = {
    "colors": (
        ["colors.keras", *ON_COLORS, "--csv", "1.csv"],
        ("80.000", "100.000", 15, 8),
    ),
    "mistaken": (
        ["mistaken.keras", *ON_COLORS, "--csv", "1.csv"],
        ("46.667", "100.000", 15, 8),
    ),
    "validation": (
        ["colors.keras", "--dataset", "parts"],
        ("100.000", "100.000", 3, 8),
    ),
    "split": (
        ["colors.keras", "--dataset", "parts", "--split", "test"],
        ("33.333", "100.000", 3, 8),
    ),
    "model": (
        [
            *("random.safetensors", *ON_WORDNET, "--size", SIZE),
            *("--batch-size", 4, "--csv", "2.csv"),
        ],
        ("42.857", "71.429", 7, SIZE),
    ),
    "weights": (
        [
            *("random.weights.h5", "--model", MODEL, *ON_WORDNET),
            *("--size", SIZE),
        ],
        ("42.857", "71.429", 7, SIZE),
    ),
    "tfds": (
        ["colors.keras", *ON_TFDS, "--split", "train", "--batch-size", 3],
        ("90.000", "100.000", 10, 8),
    ),
    "tfds, limited": (
        ["colors.keras", *ON_TFDS, "--split", "train", "--limit", 1],
        ("100.000", "100.000", 1, 8),
    ),
}
MISTAKES = {
    "no weights": (ON_COLORS, "the following arguments"),
    "no dataset": (
        ["colors.keras", "--dataset", "nowhere"],
        "'nowhere' is neither a folder nor a dataset",
    ),
    "no split": (
        ["colors.keras", *ON_COLORS, "--split", "test"],
        "contains no folder 'test'",
    ),
    "no split of TFDS": (
        ["colors.keras", *ON_TFDS],
        "'plain_colors' has no split 'validation'. It has train.",
    ),
    "no images": (
        ["colors.keras", "--dataset", "tfds"],
        "must contain one folder of images for each class",
    ),
    "not an image": (
        ["colors.keras", "mistaken.keras", "--dataset", "broken"],
        "text.png': it is not an image.",
    ),
    "cut": (["colors.keras", "--dataset", "cut"], "1.png'"),
    "other classes": (
        ["colors.keras", "--dataset", "two"],
        "'colors' distinguishes 3 classes, and the dataset has 2. They must",
    ),
    "other names": (
        ["random.safetensors", *ON_COLORS, "--size", SIZE],
        "distinguishes 1,000 classes, and the dataset has 3. They must be "
        "equally many, or ImageNet's 1,000 and named by their WordNet ids, "
        "such as n01440764, not 'blue'.",
    ),
    "no classifier": (
        ["maps.keras", *ON_COLORS],
        "'maps' contains no model that keras_resnext built",
    ),
    "size": (
        ["colors.keras", *ON_COLORS, "--size", 33],
        "takes images of 8 pixels only",
    ),
    "any size": (
        ["any.keras", *ON_COLORS],
        "The size of the images is unknown",
    ),
    "vectors": (
        ["vectors.keras", *ON_COLORS],
        "'vectors' contains no model that keras_resnext built",
    ),
    "NaN": (["nan.keras", *ON_COLORS], "contains NaN or infinity"),
    "no file": (["no.pth", *ON_COLORS], "There is no file 'no.pth'"),
    "not told": (["random.weights.h5", *ON_WORDNET], "Name it with --model"),
    "unknown": (
        ["resnext50_32x4d.a1_in2k", *ON_WORDNET],
        "Did you mean resnext50_32x4d.a1_in1k",
    ),
    "no model": (
        ["colors.keras", "--model", "resnext51", *ON_COLORS],
        "There is no variant 'resnext51'",
    ),
    "named twice": (
        [RECORD, "--model", MODEL, *ON_WORDNET],
        "leave --model",
    ),
    "limit": (
        ["colors.keras", *ON_COLORS, "--limit", 0],
        "--limit: must be a whole number from 1",
    ),
    "policy": (
        ["colors.keras", *ON_COLORS, "--dtype-policy", "float31"],
        "float31",
    ),
    "other columns": (
        ["colors.keras", *ON_COLORS, "--csv", "other.csv"],
        "'other.csv' has other columns",
    ),
    "no folder for it": (
        ["colors.keras", *ON_COLORS, "--csv", "no/1.csv"],
        "Can't append to 'no/1.csv'",
    ),
}
# Wrong words; others name files or datasets at fault.
USAGE = {
    *("no weights", "size", "no file", "not told", "unknown", "no model"),
    *("named twice", "limit", "policy", "other columns", "no folder for it"),
}
OTHERS = {
    "unavailable": [UNAVAILABLE, *ON_WORDNET],
    "pattern": [
        *(f"{MODEL}.*", "--dataset", "one", "--size", SIZE),
        *("--csv", "4.csv"),
    ],
    "one of two": ["nan.keras", "colors.keras", *ON_COLORS],
    "other classes": ["*.sw_in12k", *ON_WORDNET],
    "stopped": [
        *("colors.keras", "stopped.keras", *ON_COLORS, "--batch-size", 5),
        *("--csv", "3.csv"),
    ],
    "record": [
        *("random.safetensors", "--model", RECORD, "--dataset", "one"),
        *("--csv", "2.csv"),
    ],
    # Last, as it takes long.
    "policy": [
        *("random.safetensors", "--dataset", "one", "--size", SIZE),
        *("--dtype-policy", "mixed_bfloat16", "--csv", "2.csv"),
    ],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("verify")
    with pytest.MonkeyPatch.context() as patch, contextlib.chdir(path):
        shrink(patch, MODEL)
        color_models.write_models()
        color_models.write_folders()
        color_models.write_imagenet()
        color_models.write_tfds()
        hub_cache.put(pathlib.Path("random.safetensors"), pathlib.Path("hub"))
        pathlib.Path("other.csv").write_text("a,b\n1,2\n")
        yield path


@pytest.fixture(scope="module")
def results(folder):
    """Return the output of each command line, by its subject."""
    batches = []

    def predict(model, images):
        batches.append(model.name)
        # In its third batch, of which the first was none.
        if model.name == "stopped" and batches.count("stopped") == 3:
            raise KeyboardInterrupt
        # Tracing a function would only serve one batch.
        return keras.ops.convert_to_numpy(model(images, training=False))

    lines = {
        **{("measured", key): line for key, (line, _) in MEASURED.items()},
        **{("mistake", key): line for key, (line, _) in MISTAKES.items()},
        **{("other", key): line for key, line in OTHERS.items()},
    }
    with pytest.MonkeyPatch.context() as patch:
        hub_cache.offline(patch, folder / "hub")
        patch.setattr(keras.Model, "predict_on_batch", predict)
        found = run_commands(
            [["evaluate", *line] for line in lines.values()], folder
        )
    return dict(zip(lines, found, strict=True))


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("name", MEASURED)
def test_accuracy_is_known(results, name):
    (weights, *_), (top1, top5, images, size) = MEASURED[name]
    status, stderr, stdout = results["measured", name]
    assert (status, stderr) == (0, "")
    title, accuracy, speed, end = stdout.split("\n")
    assert title == weights
    assert accuracy == f"  top-1 {top1} %, top-5 {top5} %"
    assert speed.startswith(f"  {images} images of {size} pixels, ")
    assert speed.endswith(" per second")
    assert end == ""


def test_lines_of_csv(results, folder):
    one, other = rows(folder / "1.csv")
    assert float(one.pop("images_per_second")) > 0
    assert one == {
        "model": "colors",
        "tag": "colors.keras",
        "dataset": "colors",
        "split": "",
        "images": "15",
        "size": "8",
        "crop_pct": "0.875",
        "interpolation": "bilinear",
        "backend": keras.backend.backend(),
        "dtype_policy": "float32",
        "top1": "80.000",
        "top5": "100.000",
        "published_top1": "",
        "published_top5": "",
        "keras_version": keras.version(),
    }
    assert (other["tag"], other["top1"]) == ("mistaken.keras", "46.667")


def test_file_with_the_transform_of_a_record(results, folder):
    published = "(published 77.186 %), top-5 "
    status, stderr, stdout = results["other", "record"]
    assert (status, stderr) == (0, "")
    assert published in stdout
    plain, record, policy = rows(folder / "2.csv")
    (known,) = [
        each for each in keras_resnext.list_weights() if each.name == RECORD
    ]
    assert record["model"] == MODEL
    assert record["tag"] == "random.safetensors"
    assert int(record["size"]) == known.eval_size != SIZE
    assert float(record["crop_pct"]) == known.crop_pct
    assert record["interpolation"] == "bicubic" != plain["interpolation"]
    assert float(record["published_top1"]) == known.top1
    assert float(record["published_top5"]) == known.top5
    assert policy["dtype_policy"] == "mixed_bfloat16"


def test_published_checkpoint_by_a_pattern(results, folder):
    status, stderr, stdout = results["other", "pattern"]
    assert (status, stderr) == (0, "")
    assert stdout.startswith(f"{RECORD}\n  top-1 ")
    (row,) = rows(folder / "4.csv")
    assert (row["model"], row["tag"]) == tuple(RECORD.split("."))
    # No accuracy is published for that size.
    assert (row["size"], row["crop_pct"]) == (str(SIZE), "1")
    assert row["published_top1"] == row["published_top5"] == ""


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_get_one_sentence(results, name):
    status, stderr, stdout = results["mistake", name]
    assert_one_sentence(stderr, MISTAKES[name][1])
    assert (status, stdout) == (2 if name in USAGE else 1, "")


def test_unavailable_weights_get_one_sentence(results):
    status, stderr, _ = results["other", "unavailable"]
    assert status == 1
    assert_one_sentence(stderr, f"Can't get the weights '{UNAVAILABLE}'")


def test_one_that_fails_does_not_stop_the_next(results):
    status, stderr, stdout = results["other", "one of two"]
    assert status == 1
    assert_one_sentence(stderr, "'nan.keras'", "contains NaN")
    assert stdout.startswith("colors.keras\n  top-1 80.000 %")


def test_other_classes_are_refused_before_a_download(results):
    status, stderr, _ = results["other", "other classes"]
    names = [record.name for record in keras_resnext.list_weights()]
    refused = [name for name in names if name.endswith(".sw_in12k")]
    assert status == 1
    for name, line in zip(refused, stderr.strip().split("\n"), strict=True):
        assert f"error: '{name}' distinguishes 11,821 classes" in line


def test_interruption_tells_what_was_measured(results, folder):
    status, stderr, stdout = results["other", "stopped"]
    assert status == 130
    assert stderr.startswith(
        "keras-resnext: Stopped after 5 of 15 images of stopped.keras: top-1 "
    )
    assert stdout.startswith("colors.keras\n  top-1 80.000 %")
    assert [row["tag"] for row in rows(folder / "3.csv")] == ["colors.keras"]
