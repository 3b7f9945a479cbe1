"""Results of a benchmark: tables for the terminal and for a README."""

import statistics
from collections.abc import Iterable
from collections.abc import Sequence
from dataclasses import asdict
from dataclasses import dataclass

import rich.table

from examples.benchmark.candidates import CANDIDATES
from examples.benchmark.candidates import PEER

UNITS = {"images/s": 1.0, "s": 1.0, "GB": 1e9}


@dataclass(frozen=True)
class Result:
    """Figures of all candidates for one task.

    Args:
        kind: The task: `"predict"`, `"train"`, `"startup"`,
            `"memory of prediction"`, `"memory of training"`.
        batch: Images at a time.
        dtype: `"float32"` or `"bfloat16"`.
        samples: The figures of each candidate, one per round.
    """

    kind: str
    batch: int
    dtype: str
    samples: dict[str, list[float]]

    @property
    def unit(self) -> str:
        """Unit of the figures, as they are shown."""
        if self.kind == "startup":
            return "s"
        return "GB" if self.kind.startswith("memory") else "images/s"

    @property
    def title(self) -> str:
        """Title of the result."""
        return f"{self.kind}, batch {self.batch}, {self.dtype}"

    @property
    def medians(self) -> dict[str, float]:
        """Median of each candidate, in its unit."""
        return {
            name: statistics.median(figures) / UNITS[self.unit]
            for name, figures in self.samples.items()
        }

    @property
    def ratios(self) -> dict[str, float]:
        """Ratios to the peer's median, if it was measured."""
        medians = self.medians
        if PEER not in medians:
            return {}
        return {name: x / medians[PEER] for name, x in medians.items()}

    def ends(self, name: str) -> tuple[float, float]:
        """Return the minimum and maximum of a candidate's figures."""
        figures = self.samples[name]
        unit = UNITS[self.unit]
        return min(figures) / unit, max(figures) / unit

    def table(self) -> rich.table.Table:
        """Return a table of all medians, spreads and ratios."""
        table = rich.table.Table(
            title=self.title, title_justify="left", title_style="bold", box=None
        )
        table.add_column("")
        for heading in (self.unit, "least", "most", f"of {PEER}"):
            table.add_column(heading, justify="right")
        ratios = self.ratios
        for name, median in self.medians.items():
            ratio = f"{ratios[name]:.2f}x" if ratios else ""
            table.add_row(
                CANDIDATES[name].label,
                *(f"{x:.2f}" for x in (median, *self.ends(name))),
                ratio,
            )
        return table

    def record(self) -> dict:
        """Return the JSON values."""
        return {**asdict(self), "unit": self.unit, "medians": self.medians}


def markdown(results: Sequence[Result]) -> str:
    """Return a table of all medians, with their ratios to the peer's."""
    names = _names(results)
    heads = [
        result.title.replace(", float32", "") + f", {result.unit}"
        for result in results
    ]
    lines = [
        f"| | {' | '.join(heads)} |",
        f"| --- |{' ---: |' * len(heads)}",
    ]
    for name in names:
        cells = []
        for result in results:
            median, ratio = result.medians.get(name), result.ratios.get(name)
            cell = "" if median is None else f"{median:.1f}"
            cells.append(cell + (f" ({ratio:.2f}x)" if ratio else ""))
        lines.append(f"| {CANDIDATES[name].label} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _names(results: Iterable[Result]) -> list[str]:
    """Return the names of all candidates, in their usual order."""
    measured = {name for result in results for name in result.samples}
    return [name for name in CANDIDATES if name in measured]
