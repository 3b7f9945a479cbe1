"""Results of each model's runs: rows, a verdict and a table."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from typing import NamedTuple

import scipy.stats

from examples.paper.models import Candidate

# p-value below which two means differ, by Welch's two-sided test and Holm's
# correction for the number of claims.
SIGNIFICANCE = 0.05

History = list[dict[str, Any]]


@dataclass(frozen=True)
class Result:
    """Result of a model.

    Args:
        candidate: The model.
        parameters: Number of parameters.
        multiply_adds: Multiply-adds of an image.
        histories: Rows of the epochs of each seed, as `Trainer.train` returns
            them.
    """

    candidate: Candidate
    parameters: int
    multiply_adds: int
    histories: Sequence[History]

    @property
    def errors(self) -> list[float]:
        """Final test error of each seed."""
        return [1 - history[-1]["val_accuracy"] for history in self.histories]

    @property
    def training_errors(self) -> list[float]:
        """Final error of each seed on augmented training images."""
        return [1 - history[-1]["accuracy"] for history in self.histories]


def spread(values: Sequence[float]) -> float:
    """Return the standard deviation of a sample; zero for one value."""
    return statistics.stdev(values) if len(values) > 1 else 0.0


def p_value(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the two-sided p-value of the difference of two means.

    Args:
        first: Errors of a model, one of each seed.
        second: Errors of another model.

    Returns:
        The p-value; 1 if the errors don't vary, as those of one seed.
    """
    if not spread(first) and not spread(second):
        return 1.0
    samples = (
        number
        for errors in (first, second)
        for number in (statistics.mean(errors), spread(errors), len(errors))
    )
    return float(
        scipy.stats.ttest_ind_from_stats(*samples, equal_var=False).pvalue
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for their number, by Holm's method.

    Args:
        p_values: p-values of several tests.

    Returns:
        The corrected p-values, in the same order.
    """
    corrected, highest = [0.0] * len(p_values), 0.0
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, p_values[i] * (len(order) - rank)))
        corrected[i] = highest
    return corrected


class Comparison(NamedTuple):
    """Claim, and the two models whose errors decide it.

    Args:
        claim: The claim in words.
        better: The model with the lower errors, by the claim.
        worse: The other model.
        what: `"errors"` or `"training_errors"`.
    """

    claim: str
    better: Result
    worse: Result
    what: str = "errors"

    @property
    def samples(self) -> tuple[list[float], list[float]]:
        """Errors of both models, one of each seed."""
        return getattr(self.better, self.what), getattr(self.worse, self.what)


def comparisons(results: Sequence[Result]) -> list[Comparison]:
    """Return the comparisons that the paper's claims need.

    Args:
        results: Results of all models of a scale.
    """
    equal = [each for each in results if each.candidate.group == "equal"]
    rivals = [
        each for each in results if each.candidate.group in ("deeper", "wider")
    ]
    best = min(rivals, key=lambda each: statistics.mean(each.errors))
    more = [each for each in results if each.candidate.group == "more paths"]
    return [
        Comparison(
            "Table 3, the error is lower at the highest cardinality than at "
            "the lowest, at about equal complexity",
            *(equal[-1], equal[0]),
        ),
        *(
            Comparison(
                "Table 4, more paths are better than more depth or width, at "
                "up to twice the complexity",
                *(each, best),
            )
            for each in more
        ),
        Comparison(
            "Section 5.1, the training error is lower too, so it is not a "
            "matter of regularization",
            *(equal[-1], equal[0], "training_errors"),
        ),
    ]


def verdict(results: Sequence[Result]) -> list[str]:
    """Return a sentence for each claim: whether it was reproduced.

    Args:
        results: Results of all models of a scale.
    """
    found = comparisons(results)
    chances = [p_value(*each.samples) for each in found]
    return [
        f"{each.claim}: {_compared(each, chance, corrected)}"
        for each, chance, corrected in zip(
            found, chances, holm(chances), strict=True
        )
    ]


def _compared(found: Comparison, chance: float, corrected: float) -> str:
    lower, higher = map(statistics.mean, found.samples)
    means = (
        f"{found.better.candidate.label}: {lower:.2%}; "
        f"{found.worse.candidate.label}: {higher:.2%}"
    )
    chances = f"p = {chance:.2g}, corrected {corrected:.2g}"
    if corrected >= SIGNIFICANCE:
        return (
            f"not shown at this scale. {means}, which seeds alone may explain "
            f"({chances})"
        )
    if lower < higher:
        return f"reproduced at this scale. {means} ({chances})"
    return f"the contrary was seen at this scale. {means} ({chances})"


def rows(results: Sequence[Result]) -> list[tuple[str, ...]]:
    """Return the rows of the table, its heading first."""
    seeds = len(results[0].histories)
    heading = (
        "model",
        "parameters",
        "MACs",
        f"error, mean of {seeds}",
        "spread",
        "training error",
        "each seed",
    )
    return [
        heading,
        *(
            (
                each.candidate.label,
                f"{each.parameters:,}",
                f"{each.multiply_adds / 1e6:.1f} M",
                f"{statistics.mean(each.errors):.2%}",
                f"{spread(each.errors):.2%}",
                f"{statistics.mean(each.training_errors):.2%}",
                " ".join(f"{error:.2%}" for error in each.errors),
            )
            for each in results
        ),
    ]


def markdown(results: Sequence[Result]) -> str:
    """Return the table and the verdict for a README."""
    heading, *others = rows(results)
    lines = [heading, ("---", *["---:"] * (len(heading) - 1)), *others]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    said = "\n".join(f"- {line}" for line in verdict(results))
    return f"{table}\n\n{said}\n"


def record(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Return all figures, as JSON values."""
    return [
        {
            "model": each.candidate.label,
            "cardinality": each.candidate.cardinality,
            "group": each.candidate.group,
            "parameters": each.parameters,
            "multiply_adds": each.multiply_adds,
            "errors": each.errors,
            "training_errors": each.training_errors,
        }
        for each in results
    ]
