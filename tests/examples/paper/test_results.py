"""examples/paper/results.py: means, spreads and what may be claimed."""

import json

import numpy as np
import PIL.Image
import pytest
import scipy.stats
from run_script import ROOT

from examples.paper import figure
from examples.paper import models
from examples.paper import results
from examples.paper.results import Result

pytestmark = pytest.mark.once


def result(name, group, errors):
    """Return a result of two epochs, the last with these errors."""
    found = next(
        each
        for each in models.candidates("small")
        if each.name == name and each.group == group
    )
    histories = [
        [
            {"accuracy": 0.3, "val_accuracy": 0.4},
            {"accuracy": 0.9 - error, "val_accuracy": 1 - error},
        ]
        for error in errors
    ]
    return Result(found, 1_000_000, 20_000_000, histories)


def all_results(best, *, spread=0.001):
    """Return results: `best` errors of 32x4d and of more paths, else 0.3."""
    seeds = np.array([-1, 0, 1]) * spread
    found = []
    for each in models.candidates("small"):
        ahead = each.name == "32x4d" or each.group == "more paths"
        errors = (best if ahead else 0.3) + seeds
        found.append(result(each.name, each.group, list(errors)))
    return found


def test_mean_and_spread():
    found = result("32x4d", "equal", [0.2, 0.3, 0.4])
    assert found.errors == pytest.approx([0.2, 0.3, 0.4])
    assert results.spread(found.errors) == pytest.approx(
        np.std([2, 3, 4], ddof=1) / 10
    )
    assert results.spread([0.2]) == 0
    _, row = results.rows([found])
    assert row[0] == "32x4d"
    assert "30.00%" in row
    assert "10.00%" in row


@pytest.mark.parametrize(
    ("best", "spread", "words"),
    [
        (0.2, 0.001, "reproduced at this scale"),
        (0.4, 0.001, "the contrary was seen at this scale"),
        (0.299, 0.02, "not shown at this scale"),
    ],
)
def test_a_verdict_needs_more_than_chance(best, spread, words):
    lines = results.verdict(all_results(best, spread=spread))
    for line in lines:
        assert f": {words}." in line
    starts = [line.partition(",")[0] for line in lines]
    assert starts == ["Table 3", "Table 4", "Table 4", "Section 5.1"]


def test_chance_is_welchs():
    """The p-value of all errors equals that of their summary statistics."""
    better, worse = [0.21, 0.2, 0.24], [0.25, 0.22, 0.27]
    welch = scipy.stats.ttest_ind(better, worse, equal_var=False)
    assert results.p_value(better, worse) == pytest.approx(welch.pvalue)
    assert results.p_value(worse, better) == pytest.approx(welch.pvalue)


def test_many_claims_need_more():
    """Holm's method, worked out by hand."""
    found = results.holm([0.01, 0.04, 0.03, 0.5])
    assert found == pytest.approx([0.04, 0.09, 0.09, 0.5])
    assert results.holm([0.6, 0.9]) == [1.0, 1.0]


def test_the_page_says_what_the_figures_say():
    """examples/paper/README.md, from examples/paper/cardinality.json."""
    paper = ROOT / "examples" / "paper"
    rows = json.loads((paper / "cardinality.json").read_text())["results"]
    candidates = {each.label: each for each in models.candidates("small")}
    found = [
        Result(
            candidates[row["model"]],
            row["parameters"],
            row["multiply_adds"],
            [
                [{"accuracy": 1 - training, "val_accuracy": 1 - error}]
                for error, training in zip(
                    row["errors"], row["training_errors"], strict=True
                )
            ],
        )
        for row in rows
    ]
    assert results.markdown(found) in (paper / "README.md").read_text("utf-8")


def test_seeds_that_agree_show_nothing():
    for line in results.verdict(all_results(0.2, spread=0)):
        assert ": not shown at this scale." in line


def test_one_seed_shows_nothing():
    few = [
        Result(each.candidate, 1, 1, each.histories[:1])
        for each in all_results(0.1)
    ]
    assert "not shown" in results.verdict(few)[0]


def test_markdown_holds_every_network():
    text = results.markdown(all_results(0.2))
    for each in models.candidates("small"):
        assert f"| {each.label} |" in text


def test_the_figure_is_drawn(tmp_path):
    file = tmp_path / "figure.png"
    figure.draw(all_results(0.2), "A title", file)
    with PIL.Image.open(file) as image:
        pixels = np.asarray(image.convert("RGB"))
    assert pixels.shape[1] > 1000
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 50
