"""`keras-resnext paper`, in this process."""

import dataclasses
import json

import pytest

from keras_resnext import cli
from keras_resnext import paper

pytestmark = pytest.mark.once


@pytest.fixture
def one_wrong(monkeypatch):
    first, *others = paper.CLAIMS
    wrong = dataclasses.replace(first, value=113)
    monkeypatch.setattr(paper, "CLAIMS", (wrong, *others))


def test_all_tables(capsys):
    assert cli.main(["paper"]) == 0
    found = capsys.readouterr()
    for title in paper.TITLES.values():
        assert title in found.out
    assert found.out.count("✓") == 49
    assert "✗" not in found.out
    assert "All 49 figures that can be computed agree." in found.out
    assert "Error" not in found.err


def test_some_tables_as_json(capsys):
    assert cli.main(["paper", "--tables", "2", "7", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["table"] for row in rows} == {2, 7}
    assert rows[0] == {
        "table": 2,
        "subject": "C = 1",
        "quantity": "width d",
        "paper": 64,
        "tolerance": 0,
        "computed": 64,
        "agrees": True,
        "weights": None,
        "published": None,
    }


def test_a_changed_claim_fails(one_wrong, capsys):
    assert cli.main(["paper", "--tables", "1"]) == 1
    found = capsys.readouterr()
    assert "✗" in found.out
    assert found.err.endswith(
        "1 of 22 figures disagree with the paper: table 1, ResNet-50, 1x64d, "
        "conv1 map is 112, not 113\n"
    )


def test_a_table_that_there_is_not(capsys):
    assert cli.main(["paper", "--tables", "5"]) == 2
    assert "1, 2, 3, 4, 7" in capsys.readouterr().err
