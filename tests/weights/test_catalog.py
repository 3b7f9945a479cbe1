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


@pytest.mark.parametrize(
    ("variant", "tag"),
    [
        ("resnext50_32x4d", "a1h_in1k"),
        ("resnext50d_32x4d", "bt_in1k"),
        ("resnext101_32x4d", "gluon_in1k"),
        ("resnext101_64x4d", "IMAGENET1K_V1"),
        ("resnext101_32x8d", "IMAGENET1K_V2"),
        ("resnext152_32x4d", "mmpretrain_in1k"),
        ("seresnext50_32x4d", "racm_in1k"),
        ("seresnext101_32x4d", "gluon_in1k"),
        ("legacy_seresnext50_32x4d", "in1k"),
        ("skresnext50_32x4d", "ra_in1k"),
        ("cspresnext50", "ra_in1k"),
        ("bat_resnext26ts", "ch_in1k"),
    ],
)
def test_default_weights(variant, tag):
    assert default_weights(variant).tag == tag
    assert find_weights(variant, "imagenet") is default_weights(variant)


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
    with pytest.raises(ValueError, match="no checkpoint 'resnext101_32x4d"):
        find_weights("resnext50_32x4d", "resnext101_32x4d.gluon_in1k")


def test_a_variant_without_checkpoints():
    assert default_weights("ecaresnext50t_32x4d") is None
    with pytest.raises(ValueError, match="No checkpoint of ecaresnext50t_32"):
        find_weights("ecaresnext50t_32x4d", "imagenet")


def test_list_weights():
    assert list_weights() == list(WEIGHTS)
    assert {row.variant for row in list_weights("resnext50*")} == {
        "resnext50_32x4d",
        "resnext50d_32x4d",
    }
    assert [row.tag for row in list_weights("resnext101_32x4d")] == [
        "fb_swsl_ig1b_ft_in1k",
        "fb_ssl_yfcc100m_ft_in1k",
        "gluon_in1k",
        "keras_in1k",
        "mmpretrain_in1k",
        "qubvel_in1k",
    ]
    assert [row.name for row in list_weights("*", "bsd-3-clause")] == [
        "resnext50_32x4d.IMAGENET1K_V2",
        "resnext50_32x4d.tv2_in1k",
        "resnext50_32x4d.tv_in1k",
        "resnext50_32x4d.IMAGENET1K_V1",
        "resnext101_64x4d.IMAGENET1K_V1",
        "resnext101_64x4d.tv_in1k",
        "resnext101_32x8d.IMAGENET1K_V2",
        "resnext101_32x8d.tv2_in1k",
        "resnext101_32x8d.IMAGENET1K_V1",
        "resnext101_32x8d.tv_in1k",
    ]
    commercial = list_weights(license="commercial")
    assert len(commercial) == 52
    assert {row.license for row in commercial} == COMMERCIAL
    assert list_weights("resnext101_32x16d", license="commercial") == []


def test_list_weights_of_a_license():
    for license in LICENSES:
        rows = list_weights(license=license)
        assert rows == [row for row in WEIGHTS if row.license == license]
        assert list_weights(license=license.upper()) == rows != []


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
