import dataclasses

import pytest

from keras_resnext.weights import catalog
from keras_resnext.weights.catalog import default_weights
from keras_resnext.weights.catalog import find_weights
from keras_resnext.weights.catalog import get_weights
from keras_resnext.weights.catalog import list_weights
from keras_resnext.weights.table import WEIGHTS

pytestmark = pytest.mark.once

COMMERCIAL = {"apache-2.0", "bsd-3-clause"}
LICENSES = {*COMMERCIAL, "cc-by-nc-4.0", "noassertion"}


def test_default_weights_are_the_best_of_those_for_everyone():
    assert default_weights("resnext50_32x4d").tag == "a1h_in1k"
    assert default_weights("resnext101_64x4d").tag == "IMAGENET1K_V1"
    for variant in {row.variant for row in WEIGHTS}:
        default = default_weights(variant)
        others = [
            row.top1 or 0
            for row in WEIGHTS
            if (row.variant, row.dataset) == (variant, "imagenet")
            and row.license in COMMERCIAL
        ]
        assert (default and default.top1) == max(others, default=None)
        if default:
            assert default.license in COMMERCIAL
            assert find_weights(variant, "imagenet") is default


def test_imagenet_without_a_permissive_checkpoint_says_what_there_is():
    assert default_weights("resnext101_32x16d") is None
    with pytest.raises(ValueError, match="no checkpoint under a perm") as info:
        find_weights("resnext101_32x16d", "imagenet")
    assert "'fb_swsl_ig1b_ft_in1k' (cc-by-nc-4.0)" in str(info.value)
    assert "'fb_wsl_ig1b_ft_in1k' (cc-by-nc-4.0)" in str(info.value)
    assert "weights=None" in str(info.value)


def test_every_row_is_found():
    for row in WEIGHTS:
        assert get_weights(row.name) is row
        assert find_weights(row.variant, row.tag) is row
        assert find_weights(row.variant, row.name) is row


@pytest.mark.parametrize("name", ["resnext50_32x4d", "resnext26ts"])
def test_a_variant_alone_stands_for_its_default_weights(name):
    assert get_weights(name) is default_weights(name)
    assert get_weights(f"{name}.imagenet") is default_weights(name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet50_32x4d.a1_in1k", "Did you mean 'resnext50_32x4d'"),
        ("ResNeXt101_64x4d", "Did you mean 'resnext101_64x4d'"),
        ("resnext50_32x4d.a1_in1", "Did you mean 'a1_in1k'"),
        ("resnext29_8x64d", "No checkpoint of resnext29_8x64d is published"),
        ("a1_in1k", "There is no variant 'a1_in1k'"),
        ("", "There is no variant ''"),
    ],
)
def test_get_weights_suggests(name, message):
    with pytest.raises(ValueError, match=message):
        get_weights(name)


@pytest.mark.parametrize(
    ("weights", "near"),
    [
        ("a1h_in1", "'a1h_in1k'"),
        ("tv_in1k_", "'tv_in1k'"),
        ("resnext50_32x4d.ra_1k", "'ra_in1k'"),
        ("imagenet1k_v2", "'IMAGENET1K_V2'"),
    ],
)
def test_a_misspelt_tag_is_corrected(weights, near):
    with pytest.raises(ValueError, match=f"Did you mean {near}") as info:
        find_weights("resnext50_32x4d", weights)
    assert "'tv2_in1k' (bsd-3-clause)" in str(info.value)


def test_another_variants_name_is_refused():
    with pytest.raises(TypeError, match=r"`name` must be a string\. Rec.*5"):
        get_weights(5)
    with pytest.raises(ValueError, match="no checkpoint 'resnext101_32x4d"):
        find_weights("resnext50_32x4d", "resnext101_32x4d.gluon_in1k")


def test_list_weights():
    assert list_weights() == list(WEIGHTS)
    for model in ("resnext50*", "resnext101_32x4d"):
        assert list_weights(model) == [
            row for row in WEIGHTS if row.variant.startswith(model.strip("*"))
        ]
    assert {row.license for row in WEIGHTS} == LICENSES
    for license in LICENSES:
        rows = list_weights("*", license)
        assert rows == [row for row in WEIGHTS if row.license == license]
        assert list_weights(license=license.upper()) == rows
    commercial = list_weights(license="commercial")
    assert commercial == [row for row in WEIGHTS if row.license in COMMERCIAL]
    assert list_weights("resnext101_32x16d", license="commercial") == []


def test_list_weights_errors():
    with pytest.raises(ValueError, match=r"model='resnet50'.*resnext50_32x4d"):
        list_weights("resnet50")
    with pytest.raises(ValueError, match=r"license='gpl'\. Use.*bsd-3-clause"):
        list_weights(license="gpl")
    for license, near in (
        ("apache2", "apache-2.0"),
        ("BSD-3-clauses", "bsd-3-clause"),
        ("comercial", "commercial"),
    ):
        with pytest.raises(ValueError, match=f"Did you mean '{near}'"):
            list_weights(license=license)


def test_weights_of_another_data_set_are_not_imagenets(monkeypatch):
    others = [
        dataclasses.replace(row, dataset="cifar10")
        for row in WEIGHTS
        if row.variant == "resnext50_32x4d"
    ]
    monkeypatch.setattr(catalog, "WEIGHTS", others)
    assert default_weights("resnext50_32x4d") is None
    with pytest.raises(ValueError, match="no checkpoint from ImageNet"):
        find_weights("resnext50_32x4d", "imagenet")
    tag = others[0].tag
    assert find_weights("resnext50_32x4d", tag) == others[0]
