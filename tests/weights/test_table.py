import csv
import dataclasses
import hashlib
import pathlib
import re

import pytest
from torch_helpers import import_torchvision

from keras_resnext.training import recipes
from keras_resnext.variants import VARIANTS
from keras_resnext.weights import table
from keras_resnext.weights.catalog import find_weights
from keras_resnext.weights.fetch import BUNDLED
from keras_resnext.weights.fetch import fetch
from keras_resnext.weights.layouts import LAYOUTS
from keras_resnext.weights.records import Evaluation
from keras_resnext.weights.records import HubFile
from keras_resnext.weights.records import PackageFile
from keras_resnext.weights.records import WebFile
from keras_resnext.weights.records import Weights
from keras_resnext.weights.table import WEIGHTS

pytestmark = pytest.mark.once

COMMERCIAL = {"apache-2.0", "bsd-3-clause"}
SIZES = (160, 176, 224, 256, 288, 320, 384)
LICENSES = {*COMMERCIAL, "cc-by-nc-4.0", "noassertion"}

OWN = [
    row
    for row in WEIGHTS
    if any(isinstance(x, PackageFile) for x in row.sources)
]
OTHERS = [row for row in WEIGHTS if row not in OWN]
TORCHVISION = [row for row in OTHERS if row.tag.startswith("IMAGENET1K_")]
TIMM = [
    row
    for row in OTHERS
    if row.layout.startswith("timm") and row not in TORCHVISION
]

# The words of each column of the file; others are names, or text.
WHOLE = "[1-9][0-9]*"
NUMBER = r"[0-9.]+(/[0-9.]+)?"
EVALUATION = rf"{WHOLE} {NUMBER}( [0-9]+\.[0-9]+){{2}}"
UNPUBLISHED = rf"{WHOLE} {NUMBER}"
HUB = r"hf://[\w.-]+/[\w.-]+(@[0-9a-f]{40})?(#sha256=[0-9a-f]{64})?"
TORCH = r"https://\S+-[0-9a-f]{8,9}\.pth"
H5 = r"https://\S+\.h5#md5=[0-9a-f]{32}"
BUNDLED_FILE = r"[\w.]+\.safetensors#sha256=[0-9a-f]{64}"
SOURCE = f"({HUB}|{TORCH}|{H5}|{BUNDLED_FILE})"
PATTERNS = {
    "num_params": WHOLE,
    "train_size": WHOLE,
    "classes": WHOLE,
    "evaluations": f"{EVALUATION}(; {EVALUATION})*"
    f"|{UNPUBLISHED}(; {UNPUBLISHED})*",
    "mean": f"{NUMBER} {NUMBER} {NUMBER}",
    "std": f"{NUMBER} {NUMBER} {NUMBER}",
    "sources": f"{SOURCE}( {SOURCE})*",
    "note": r"\S.*\S",
}


def cells():
    """Return the lines of the file, the header first."""
    path = pathlib.Path(table.__file__).with_name("catalog.csv")
    return list(csv.reader(path.read_text("utf-8").splitlines(), strict=True))


def test_columns_are_the_fields_of_a_record():
    header, *_ = cells()
    assert len(set(header)) == len(header)
    assert set(header) == {field.name for field in dataclasses.fields(Weights)}


def test_cells():
    defaults = {
        field.name: field.default for field in dataclasses.fields(Weights)
    }
    header, *rows = cells()
    assert len(rows) == len(WEIGHTS)
    for row in rows:
        for column, cell in zip(header, row, strict=True):
            where = f"{row[0]}.{row[1]}, {column}"
            if cell:
                pattern = PATTERNS.get(column, r"[\w.-]+")
                assert re.fullmatch(pattern, cell), where
                assert cell != str(defaults[column]), where
            else:
                assert defaults[column] is not dataclasses.MISSING, where


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("hf://timm/x.in1k", HubFile("timm/x.in1k")),
        (
            "hf://timm/x.in1k@0123#sha256=4567",
            HubFile("timm/x.in1k", revision="0123", sha256="4567"),
        ),
        (
            "https://a.org/b-0/x_a1-89ab.pth",
            WebFile("https://a.org/b-0/x_a1-89ab.pth", sha256_prefix="89ab"),
        ),
        (
            "https://a.org/x_tf.h5#md5=cdef",
            WebFile("https://a.org/x_tf.h5", md5="cdef"),
        ),
        (
            "https://a.org/x_no_top.h5#md5=cdef",
            WebFile("https://a.org/x_no_top.h5", md5="cdef", has_top=False),
        ),
        ("x.safetensors#sha256=4567", PackageFile("x.safetensors", "4567")),
    ],
)
def test_sources_are_read(text, source):
    assert table._sources(f"{text} {text}") == (source, source)


def test_evaluations_are_read():
    assert table._evaluations("288 1.0 81.5 95.25; 224 224/232 80 94") == (
        Evaluation(288, 1.0, 81.5, 95.25),
        Evaluation(224, 224 / 232, 80.0, 94.0),
    )
    assert table._evaluations("384 1.0") == (Evaluation(384, 1.0, None, None),)


def test_names_are_unique():
    assert len({row.name for row in WEIGHTS}) == len(WEIGHTS)


def test_rows_of_a_variant_stand_together_best_first():
    variants = list(dict.fromkeys(row.variant for row in WEIGHTS))
    assert set(variants) <= set(VARIANTS)
    assert list(WEIGHTS) == sorted(
        WEIGHTS,
        key=lambda row: (variants.index(row.variant), -(row.top1 or 0)),
    )


def test_a_variants_rows_count_the_same_parameters():
    counts = {(row.variant, row.classes): row.num_params for row in WEIGHTS}
    for row in WEIGHTS:
        assert row.num_params == counts[row.variant, row.classes], row.name


def test_rows():
    for row in OTHERS:
        assert hash(row) == hash(find_weights(row.variant, row.tag)), row.name
        assert row.license in LICENSES, row.name
        assert row.permissive == (row.license in COMMERCIAL), row.name
        classes = 11821 if row.tag == "sw_in12k" else 1000
        assert row.classes == classes, row.name
        assert row.train_size in SIZES, row.name
        assert row.interpolation in ("bilinear", "bicubic"), row.name
        assert row.layout in LAYOUTS, row.name
        assert row.mean == (0.485, 0.456, 0.406), row.name
        assert row.std == (0.229, 0.224, 0.225), row.name


@pytest.mark.parametrize("row", OWN, ids=lambda row: row.name)
def test_own_row(row):
    """Bundled file, small enough for a repository."""
    (source,) = row.sources
    assert source.filename == f"{row.name}.safetensors"
    path = fetch(row)
    assert path.stat().st_size <= 12e6
    assert hashlib.sha256(path.read_bytes()).hexdigest() == source.sha256
    assert row.tag == row.dataset
    assert row.license == "apache-2.0"
    (evaluation,) = row.evaluations
    assert (evaluation.size, evaluation.crop_pct) == (row.train_size, 1.0)
    assert evaluation.top1 < evaluation.top5 < 100
    recipe = recipes.RECIPES["cifar_short"]
    assert (row.mean, row.std) == (recipe.mean, recipe.std)
    assert row.train_size == recipe.evaluation_size
    assert row.interpolation == recipe.interpolation


def test_nothing_else_comes_along():
    assert {path.name for path in BUNDLED.iterdir()} == {
        row.sources[0].filename for row in OWN
    }


def test_evaluations():
    for row in OTHERS:
        for evaluation in row.evaluations:
            assert evaluation.size in SIZES, row.name
            assert 0.875 <= evaluation.crop_pct <= 1.0, row.name
            if row.tag == "sw_in12k":  # nobody published its accuracy
                assert evaluation.top1 is evaluation.top5 is None
            else:
                assert 75 < evaluation.top1 < evaluation.top5 < 99, row.name
        figures = [evaluation.top1 or 0 for evaluation in row.evaluations]
        assert figures == sorted(figures, reverse=True), row.name
        best = row.evaluations[0]
        assert (row.top1, row.top5) == (best.top1, best.top5), row.name
        assert (row.eval_size, row.crop_pct) == (best.size, best.crop_pct), (
            row.name
        )


def test_hub_files_are_timms_and_come_first():
    for row in OTHERS:
        assert row.sources[0].has_top, row.name
        for source in row.sources:
            if isinstance(source, HubFile):
                assert source is row.sources[0]
                assert source.repo_id == f"timm/{row.name}"
                assert source.filename == HubFile("").filename


def test_old_keras_files():
    """Places have a file with the classifier and one without."""
    rows = [row for row in OTHERS if row.sources[0].verified_by == "MD5"]
    assert rows
    for row in rows:
        assert row.layout in ("keras_applications", "qubvel")
        assert row.note
        whole = [file.md5 for file in row.sources if file.has_top]
        notop = [file.md5 for file in row.sources if not file.has_top]
        assert len(whole) == len(notop) == len(row.sources) / 2
        assert len(set(whole)) == len(set(notop)) == 1
        assert whole != notop


@pytest.mark.parametrize("variant", ["resnext50_32x4d", "resnext101_32x4d"])
def test_keras_license_is_that_of_the_torch_files(variant):
    row = find_weights(variant, "keras_in1k")
    assert row.license == "cc-by-nc-4.0"
    assert "BSD" in row.note


@pytest.fixture(scope="module")
def timm_configs():
    """Every trained checkpoint that timm knows of our variants, by name."""
    import_torchvision()
    pytest.importorskip("timm")
    from timm.models import byobnet
    from timm.models import cspnet
    from timm.models import resnet
    from timm.models import senet
    from timm.models import sknet

    return {
        f"{variant}.{tag}": config
        for module in (byobnet, cspnet, resnet, senet, sknet)
        for variant, default in module.default_cfgs.items()
        if variant in VARIANTS
        for tag, config in default.cfgs.items()
        if config.url or config.hf_hub_id
    }


@pytest.mark.parity
def test_every_timm_tag_is_here(timm_configs):
    assert {row.name for row in TIMM} == set(timm_configs)


@pytest.mark.parity
def test_rows_agree_with_timm(timm_configs):
    for name, config in timm_configs.items():
        row = find_weights(name.partition(".")[0], name)
        assert row.license == config.license, name
        assert row.train_size == config.input_size[-1], name
        assert row.interpolation == config.interpolation, name
        assert (row.mean, row.std) == (config.mean, config.std), name
        assert row.classes == config.num_classes, name
        assert getattr(row.sources[-1], "url", "") == config.url, name
        assert config.crop_mode == "center", name

        transforms = {(row.size, row.crop_pct) for row in row.evaluations}
        assert (config.input_size[-1], config.crop_pct) in transforms, name
        if config.test_input_size:
            test = config.test_input_size[-1], config.test_crop_pct
            assert test in transforms, name

        if row.variant.startswith("legacy_"):
            assert not config.hf_hub_id
        elif row.variant != "resnext101_32x48d":
            assert row.sources[0].repo_id == config.hf_hub_id + (
                name if config.hf_hub_id.endswith("/") else ""
            )


@pytest.mark.parity
@pytest.mark.parametrize(
    "row",
    {(row.variant, row.classes): row for row in TIMM}.values(),
    ids=lambda row: row.name,
)
def test_parameters_agree_with_timm(row):
    import_torchvision()
    timm = pytest.importorskip("timm")
    import torch

    if not timm.is_model(row.variant):
        pytest.skip(f"timm has no model {row.variant}")
    with torch.device("meta"):
        model = timm.create_model(row.variant, num_classes=row.classes)
    parameters = sum(weight.numel() for weight in model.parameters())
    assert row.num_params == parameters


@pytest.mark.parity
def test_every_torchvision_tag_is_here():
    models = import_torchvision().models
    names = {
        f"{model}.{weights.name}"
        for model in models.list_models(module=models, include="resnext*")
        for weights in models.get_model_weights(model)
    }
    assert {row.name for row in TORCHVISION} == names


@pytest.mark.parity
@pytest.mark.parametrize("row", TORCHVISION, ids=lambda row: row.name)
def test_rows_agree_with_torchvision(row):
    models = import_torchvision().models
    reference = models.get_model_weights(row.variant)[row.tag]
    assert [source.url for source in row.sources] == [reference.url]
    assert row.num_params == reference.meta["num_params"]

    metrics = reference.meta["_metrics"]["ImageNet-1K"]
    transform = reference.transforms()
    (size,), (resize,) = transform.crop_size, transform.resize_size
    assert transform.interpolation.value == row.interpolation
    published = Evaluation(
        size, size / resize, metrics["acc@1"], metrics["acc@5"]
    )
    assert row.evaluations == (published,)


@pytest.mark.parametrize("row", TORCHVISION, ids=lambda row: row.name)
def test_timm_has_torchvisions_file_too(row):
    [(tag, url)] = [
        (other.tag, other.sources[-1].url)
        for other in TIMM
        if other.variant == row.variant and row.tag in other.note
    ]
    assert tag == ("tv2_in1k" if row.tag.endswith("V2") else "tv_in1k")
    assert [source.url for source in row.sources] == [url]
