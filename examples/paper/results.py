"""What came of each network's runs, as rows, a verdict and a table."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import scipy.stats

from paper.networks import Contestant

# Below this a difference is called one: that of two means, by Welch's test.
SIGNIFICANCE = 0.05

History = list[dict[str, Any]]


@dataclass(frozen=True)
class Result:
    """What came of a network.

    Args:
        contestant: The network.
        parameters: How many it has.
        multiply_adds: What a picture costs.
        histories: Of each seed the rows of its epochs, as `loop.train`
            returns them.
    """

    contestant: Contestant
    parameters: int
    multiply_adds: int
    histories: Sequence[History]

    @property
    def errors(self) -> list[float]:
        """Of each seed, the share of held-out pictures it ends up wrong on."""
        return [1 - history[-1]["val_accuracy"] for history in self.histories]

    @property
    def training_errors(self) -> list[float]:
        """Of each seed, that on augmented training pictures."""
        return [1 - history[-1]["accuracy"] for history in self.histories]


def spread(values: Sequence[float]) -> float:
    """The standard deviation of a sample; of one value, none."""
    return statistics.stdev(values) if len(values) > 1 else 0.0


def p_value(better: Sequence[float], worse: Sequence[float]) -> float:
    """How probable it is that the first is as far below by chance alone.

    Args:
        better: Errors, one of each seed.
        worse: Those of another network.

    Returns:
        One if the seeds tell nothing of chance: if there is one only, or all
        give the same.
    """
    if not spread(better) and not spread(worse):
        return 1.0
    samples = (
        number
        for errors in (better, worse)
        for number in (statistics.mean(errors), spread(errors), len(errors))
    )
    return float(
        scipy.stats.ttest_ind_from_stats(
            *samples, equal_var=False, alternative="less"
        ).pvalue
    )


def verdict(results: Sequence[Result]) -> list[str]:
    """Says of each claim whether it was reproduced, one sentence each.

    Args:
        results: Of all networks of a scale.
    """
    equal = [each for each in results if each.contestant.group == "equal"]
    least, most = equal[0], equal[-1]
    lines = [
        "Table 3, the error falls as cardinality rises at constant "
        f"complexity: {_compared(most, least)}"
    ]
    rivals = [
        each for each in results if each.contestant.group in ("deeper", "wider")
    ]
    best = min(rivals, key=lambda each: statistics.mean(each.errors))
    lines += [
        "Table 4, more paths are better than more depth or width at twice "
        f"the complexity: {_compared(each, best)}"
        for each in results
        if each.contestant.group == "more paths"
    ]
    lines.append(
        "Section 5.1, the training error falls, too, so that it is no matter "
        f"of regularization: {_compared(most, least, 'training_errors')}"
    )
    return lines


def _compared(better: Result, worse: Result, what: str = "errors") -> str:
    first, second = (getattr(each, what) for each in (better, worse))
    means = (
        f"{better.contestant.label}: {statistics.mean(first):.2%}; "
        f"{worse.contestant.label}: {statistics.mean(second):.2%}"
    )
    chance = p_value(first, second)
    if chance < SIGNIFICANCE:
        return f"reproduced at this scale. {means} (p = {chance:.2g})"
    contrary = p_value(second, first)
    if contrary < SIGNIFICANCE:
        return (
            f"the contrary was seen at this scale. {means} (p = {contrary:.2g})"
        )
    return (
        f"not shown at this scale. {means}, which seeds alone may explain "
        f"(p = {chance:.2g})"
    )


def rows(results: Sequence[Result]) -> list[tuple[str, ...]]:
    """The table, its heading first."""
    seeds = len(results[0].histories)
    heading = (
        "network",
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
                each.contestant.label,
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
    """The table and the verdict for a README."""
    heading, *others = rows(results)
    lines = [heading, ("---", *["---:"] * (len(heading) - 1)), *others]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    said = "\n".join(f"- {line}" for line in verdict(results))
    return f"{table}\n\n{said}\n"


def record(results: Sequence[Result]) -> list[dict[str, Any]]:
    """All figures, for JSON."""
    return [
        {
            "network": each.contestant.label,
            "cardinality": each.contestant.cardinality,
            "group": each.contestant.group,
            "parameters": each.parameters,
            "multiply_adds": each.multiply_adds,
            "errors": each.errors,
            "training_errors": each.training_errors,
        }
        for each in results
    ]
