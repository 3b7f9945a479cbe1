"""Write the tables of the README and of this folder's page.

They come from `measured/`, which holds the results of whole runs on one quiet
machine:

    python -m examples.benchmark.models --output runs/benchmark
    cp runs/benchmark/benchmark.json examples/benchmark/measured/cpu.json
    python -m examples.benchmark.scaling --output runs/scaling
    cp runs/scaling/scaling.json examples/benchmark/measured/
    python -m examples.benchmark.pages
"""

import json
import pathlib
import re
import sys
import textwrap
from collections.abc import Sequence
from typing import Any

from examples.benchmark import curves
from examples.benchmark.candidates import CANDIDATES
from examples.benchmark.curves import Point
from examples.benchmark.results import Result

FOLDER = pathlib.Path(__file__).parent
MEASURED = FOLDER / "measured"
PAGES = {
    FOLDER.parents[1] / "README.md": lambda: speed(_report("cpu")),
    FOLDER / "README.md": lambda: scaling(_report("scaling")),
}
BEGIN = "<!-- python -m examples.benchmark.pages writes these tables. -->\n"
END = "<!-- End of these tables. -->\n"


def main() -> int:
    """Run the script, and return its exit status."""
    for file in PAGES:
        file.write_text(written(file), "utf-8")
        print(file)
    chart = MEASURED / "scaling.png"
    curves.draw(_points(_report("scaling")), chart)
    print(chart)
    return 0


def written(file: pathlib.Path) -> str:
    """Return a page with the tables of the results."""
    pattern = re.compile(f"(?<={re.escape(BEGIN)}).*(?={re.escape(END)})", re.S)
    tables = PAGES[file]()
    text, count = pattern.subn(
        lambda _: f"\n{tables}\n", file.read_text("utf-8")
    )
    if count != 1:
        raise ValueError(f"{file} must contain once: {BEGIN}{END}")
    return text


def speed(report: dict[str, Any]) -> str:
    """Return the Markdown of a report of `examples.benchmark.models`."""
    results = [
        Result(each["kind"], each["batch"], each["dtype"], each["samples"])
        for each in report["results"]
    ]
    rounds = max(
        len(samples)
        for result in results
        for samples in result.samples.values()
    )
    head = (
        f"{report['model']}, {report['size']}x{report['size']}, "
        f"{report['threads']} cores of an {report['hardware']}; "
        f"{_versions(report)}. Medians of {rounds} interleaved rounds of one "
        "run, and the ratio to eager timm. Prediction, in images per second:"
    )
    predict = [each for each in results if each.kind == "predict"]
    others = [each for each in results if each.kind != "predict"]
    return "\n".join(
        [
            textwrap.fill(head, 80, break_on_hyphens=False),
            "",
            *_table(predict),
            "",
            "Training, in images per second, and the time from the start of a "
            "process to its\nfirst prediction:",
            "",
            *_table(others),
            "",
        ]
    )


def scaling(report: dict[str, Any]) -> str:
    """Return the Markdown of a report of `examples.benchmark.scaling`."""
    head = (
        f"{report['model']}, {report['cores']} cores of an "
        f"{report['hardware']}; {_versions(report)}. Medians of "
        f"{report['rounds']} rounds, float32:"
    )
    return (
        f"{textwrap.fill(head, 80, break_on_hyphens=False)}\n\n"
        f"{curves.tables(_points(report))}"
    )


def _report(name: str) -> dict[str, Any]:
    return json.loads((MEASURED / f"{name}.json").read_text("utf-8"))


def _points(report: dict[str, Any]) -> list[Point]:
    return [Point(**each) for each in report["points"]]


def _versions(report: dict[str, Any]) -> str:
    return ", ".join(map(" ".join, report["versions"].items()))


def _table(results: Sequence[Result]) -> list[str]:
    """Return the lines of a table, of a column for each result."""
    named = {name for result in results for name in result.samples}
    names = [name for name in CANDIDATES if name in named]
    return [
        f"| | {' | '.join(map(_heading, results))} |",
        f"| --- |{' ---: |' * len(results)}",
        *(
            f"| {CANDIDATES[name].label} | "
            f"{' | '.join(_cell(result, name) for result in results)} |"
            for name in names
        ),
    ]


def _heading(result: Result) -> str:
    kind = {
        "predict": "",
        "train": "",
        "startup": "start-up",
        "memory of prediction": "memory to predict",
        "memory of training": "memory to train",
    }[result.kind]
    words = [
        kind,
        "" if result.dtype == "float32" else result.dtype,
        "" if result.kind == "startup" else f"batch {result.batch}",
    ]
    return ", ".join(filter(None, words))


def _cell(result: Result, name: str) -> str:
    median = result.medians.get(name)
    if median is None:
        return ""
    digits = 1 if median >= 1 else 2
    unit = "" if result.unit == "images/s" else f" {result.unit}"
    return f"{median:.{digits}f}{unit} ({result.ratios[name]:.2f}x)"


if __name__ == "__main__":
    sys.exit(main())
