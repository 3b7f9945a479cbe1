import hashlib
import re

import pytest
from torch_helpers import import_torchvision

from keras_resnext.training import recipes
from keras_resnext.weights.catalogue import find_weights
from keras_resnext.weights.catalogue import list_weights
from keras_resnext.weights.fetch import OURS
from keras_resnext.weights.fetch import fetch
from keras_resnext.weights.layouts import LAYOUTS
from keras_resnext.weights.records import Evaluation
from keras_resnext.weights.records import HubFile
from keras_resnext.weights.records import PackageFile
from keras_resnext.weights.records import WebFile
from keras_resnext.weights.table import WEIGHTS

COMMERCIAL = {"apache-2.0", "bsd-3-clause"}
LICENSES = {*COMMERCIAL, "cc-by-nc-4.0", "noassertion"}

NUM_PARAMS = {
    "resnext50_32x4d": 25028904,
    "resnext50d_32x4d": 25048136,
    "resnext101_32x4d": 44177704,
    "resnext101_64x4d": 83455272,
    "resnext101_32x8d": 88791336,
    "resnext101_32x16d": 194026792,
    "resnext101_32x32d": 468530472,
    "resnext101_32x48d": 828411176,
    "resnext152_32x4d": 59951400,
    "seresnext26d_32x4d": 16809512,
    "seresnext26t_32x4d": 16806976,
    "seresnext50_32x4d": 27559896,
    "seresnext101_32x4d": 48955416,
    "seresnext101_32x8d": 93569048,
    "seresnext101_64x4d": 88232984,
    "seresnext101d_32x8d": 93588280,
    "seresnextaa101d_32x8d": 93588280,
    "seresnextaa201d_32x8d": 149394904,
    "legacy_seresnext26_32x4d": 16790280,
    "legacy_seresnext50_32x4d": 27559896,
    "legacy_seresnext101_32x4d": 48955416,
    "skresnext50_32x4d": 27479784,
    "cspresnext50": 20569896,
    "bat_resnext26ts": 10731200,
    "resnext26ts": 10297952,
    "seresnext26ts": 10388064,
    "eca_resnext26ts": 10297988,
    "gcresnext26ts": 10476600,
    "gcresnext50ts": 15667320,
}

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

every_row = pytest.mark.parametrize("row", OTHERS, ids=lambda row: row.name)


def is_hex(text, length):
    return re.fullmatch(f"[0-9a-f]{{{length}}}", text) is not None


def is_prefix(text):
    """Eight digits of a hash or, in the name of one file, nine."""
    return is_hex(text, 8) or is_hex(text, 9)


def test_names_are_unique():
    assert len({row.name for row in WEIGHTS}) == len(WEIGHTS) == 68


def test_rows_of_a_variant_stand_together_best_first():
    variants = list(dict.fromkeys(row.variant for row in WEIGHTS))
    assert set(variants) == {*NUM_PARAMS, *(row.variant for row in OWN)}
    assert list(WEIGHTS) == sorted(
        WEIGHTS,
        key=lambda row: (variants.index(row.variant), -(row.top1 or 0)),
    )


@every_row
def test_row(row):
    assert hash(row) == hash(find_weights(row.variant, row.tag))
    assert row.license in LICENSES
    assert row.permissive == (row.license in COMMERCIAL)
    head = 2049 * (row.classes - 1000)
    assert row.num_params == NUM_PARAMS[row.variant] + head
    assert row.classes == (11821 if row.tag == "sw_in12k" else 1000)
    assert row.train_size in (160, 176, 224, 256, 288, 320, 384)
    assert row.interpolation in ("bilinear", "bicubic")
    assert row.layout in LAYOUTS
    assert row.mean == (0.485, 0.456, 0.406)
    assert row.std == (0.229, 0.224, 0.225)


@pytest.mark.parametrize("row", OWN, ids=lambda row: row.name)
def test_own_row(row):
    """One file that comes along, small enough for a repository."""
    (source,) = row.sources
    assert source.filename == f"{row.name}.safetensors"
    path = fetch(row)
    assert path.stat().st_size <= 12e6
    assert hashlib.sha256(path.read_bytes()).hexdigest() == source.sha256
    assert row.tag == row.dataset
    assert row.license == "apache-2.0"
    (evaluation,) = row.evaluations
    assert (evaluation.size, evaluation.crop) == (row.train_size, 1.0)
    assert evaluation.top1 < evaluation.top5 < 100


@pytest.mark.parametrize("row", OWN, ids=lambda row: row.name)
def test_own_row_is_its_recipes(row):
    recipe = recipes.RECIPES["cifar_short"]
    assert (row.mean, row.std) == (recipe.mean, recipe.std)
    assert row.train_size == recipe.evaluation_size
    assert row.interpolation == recipe.interpolation


def test_nothing_else_comes_along():
    assert {path.name for path in OURS.iterdir()} == {
        row.sources[0].filename for row in OWN
    }


@every_row
def test_evaluations(row):
    assert row.evaluations
    for evaluation in row.evaluations:
        assert evaluation.size in (160, 176, 224, 256, 288, 320, 384)
        assert 0.875 <= evaluation.crop <= 1.0
        if row.tag == "sw_in12k":  # nobody published its accuracy
            assert evaluation.top1 is evaluation.top5 is None
        else:
            assert 75 < evaluation.top1 < evaluation.top5 < 99
    figures = [evaluation.top1 or 0 for evaluation in row.evaluations]
    assert figures == sorted(figures, reverse=True)
    best = row.evaluations[0]
    assert (row.top1, row.top5) == (best.top1, best.top5)
    assert (row.eval_size, row.crop) == (best.size, best.crop)


@every_row
def test_sources(row):
    assert any(source.has_top for source in row.sources)
    for source in row.sources:
        if isinstance(source, HubFile):
            assert source.repo_id == f"timm/{row.name}"
            assert source.filename == "model.safetensors"
            assert source.revision == "main" or is_hex(source.revision, 40)
            assert source.sha256 is None or is_hex(source.sha256, 64)
        else:
            assert source.url.startswith("https://")
            assert (source.sha256_prefix is None) != (source.md5 is None)
    for source in row.sources:
        if isinstance(source, WebFile) and source.url.endswith(".pth"):
            assert is_prefix(source.sha256_prefix)
            assert source.url.endswith(f"-{source.sha256_prefix}.pth")
        if isinstance(source, WebFile) and source.url.endswith(".h5"):
            assert is_hex(source.md5, 32)
            assert source.has_top == (re.search("no_?top", source.url) is None)


def test_hub_files_come_first_and_are_missing_once():
    for row in WEIGHTS:
        assert not any(isinstance(file, HubFile) for file in row.sources[1:])
    hubless = [row.name for row in TIMM if isinstance(row.sources[0], WebFile)]
    assert hubless == [
        "resnext101_32x48d.fb_wsl_ig1b_ft_in1k",
        "legacy_seresnext26_32x4d.in1k",
        "legacy_seresnext50_32x4d.in1k",
        "legacy_seresnext101_32x4d.in1k",
    ]


def test_every_file_can_be_told_from_a_damaged_one():
    """But those hub files whose hash nobody wrote down."""
    sources = [source for row in WEIGHTS for source in row.sources]
    hub = [file for file in sources if isinstance(file, HubFile)]
    assert sum(is_hex(file.sha256 or "", 64) for file in hub) >= 14
    for file in sources:
        if isinstance(file, WebFile):
            if file.url.endswith(".pth"):
                assert is_prefix(file.sha256_prefix)
            else:
                assert is_hex(file.md5, 32)


def test_known_hashes():
    row = find_weights("resnext50_32x4d", "a1h_in1k")
    assert row.sources[0] == HubFile(
        "timm/resnext50_32x4d.a1h_in1k",
        revision="8af8dd95e2a7538fad74714fc76507d9de9de33c",
        sha256=(
            "b952952a7b3e856b16ebf82fb44d2aa8c502e73ec678976c9e3b970fcd530bd5"
        ),
    )
    assert sum(bool(getattr(w.sources[0], "sha256", 0)) for w in OTHERS) == 14


@pytest.mark.parametrize(
    ("variant", "hashes"),
    [
        (
            "resnext50_32x4d",
            (
                "67a5b30d522ed92f75a1f16eef299d1a",
                "62527c363bdd9ec598bed41947b379fc",
            ),
        ),
        (
            "resnext101_32x4d",
            (
                "34fb605428fcc7aa4d62f44404c11509",
                "0f678c91647380debd923963594981b3",
            ),
        ),
    ],
)
def test_keras_files(variant, hashes):
    row = find_weights(variant, "keras_in1k")
    assert row.layout == "keras_applications"
    assert row.license == "cc-by-nc-4.0"
    assert "BSD" in row.note
    assert [file.md5 for file in row.sources] == [
        hashes[0],
        hashes[0],
        hashes[1],
        hashes[1],
    ]


@pytest.mark.parametrize(
    ("variant", "license", "hashes"),
    [
        (
            "resnext50_32x4d",
            "noassertion",
            [
                "7c5c40381efb044a8dea5287ab2c83db",
                "7ade5c8aac9194af79b1724229bdaa50",
            ],
        ),
        (
            "resnext101_32x4d",
            "noassertion",
            [
                "432536e85ee811568a0851c328182735",
                "91fe0126320e49f6ee607a0719828c7e",
            ],
        ),
        (
            "seresnext50_32x4d",
            "apache-2.0",
            [
                "5310dcd58ed573aecdab99f8df1121d5",
                "b0f23d2e1cd406d67335fb92d85cc279",
            ],
        ),
        (
            "seresnext101_32x4d",
            "apache-2.0",
            [
                "be5b26b697a0f7f11efaa1bb6272fc84",
                "e48708cbe40071cc3356016c37f6c9c7",
            ],
        ),
    ],
)
def test_qubvel_files(variant, license, hashes):
    row = find_weights(variant, "qubvel_in1k")
    assert row.layout == "qubvel"
    assert row.license == license
    assert row.note
    assert [file.md5 for file in row.sources] == hashes
    assert [file.has_top for file in row.sources] == [True, False]


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
        if variant in NUM_PARAMS
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

        transforms = {(row.size, row.crop) for row in row.evaluations}
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
@pytest.mark.parametrize("variant", sorted(NUM_PARAMS))
def test_parameters_agree_with_timm(variant):
    import_torchvision()
    timm = pytest.importorskip("timm")
    import torch

    if not timm.is_model(variant):
        pytest.skip(f"timm has no model {variant}")
    with torch.device("meta"):
        model = timm.create_model(variant)
    parameters = sum(weight.numel() for weight in model.parameters())
    assert find_weights(variant, list_weights(variant)[0].tag).num_params == (
        parameters
    )


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
