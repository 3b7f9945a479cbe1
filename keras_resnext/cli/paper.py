"""The command `paper`: the paper's tables beside values computed here."""

import argparse
import itertools
from collections.abc import Sequence

import rich.console
import rich.progress

from keras_resnext import paper
from keras_resnext.cli import Failure
from keras_resnext.cli import UsageError
from keras_resnext.cli import printing


def run(args: argparse.Namespace) -> int:
    """Print the tables.

    Raises:
        Failure: If a figure disagrees.
        UsageError: If the paper has no such table.
    """
    titles = paper.TITLES
    tables = args.tables or list(titles)
    if unknown := sorted(set(tables) - set(titles)):
        raise UsageError(
            f"The tables that can be checked are "
            f"{', '.join(map(str, titles))}. Received: --tables "
            f"{' '.join(map(str, unknown))}"
        )
    claims = [claim for claim in paper.CLAIMS if claim.table in tables]
    checks = list(
        rich.progress.track(
            paper.check(claims),
            "Computing",
            total=len(claims),
            console=rich.console.Console(stderr=True),
            transient=True,
        )
    )
    if args.json:
        printing.print_json([_row(check) for check in checks])
    else:
        for table, group in itertools.groupby(
            checks, key=lambda check: check.claim.table
        ):
            _print(titles[table], list(group))
    wrong = [check for check in checks if check.agrees is False]
    judged = sum(check.agrees is not None for check in checks)
    if wrong:
        raise Failure(
            f"{len(wrong)} of {judged} figures disagree with the paper: "
            + "; ".join(
                f"table {check.claim.table}, {check.claim.subject}, "
                f"{check.claim.quantity} is {_number(check.computed)}, not "
                f"{check.claim.value}"
                for check in wrong
            )
        )
    if not args.json:
        print(f"All {judged} figures that can be computed agree.")
    return 0


def _print(title: str, checks: Sequence[paper.Check]) -> None:
    """Print a table, with accuracies of published weights if there are any."""
    columns = ["model", "figure", "paper>", "computed>", ""]
    trained = any(check.published is not None for check in checks)
    if trained:
        columns += ["published weights>", "of"]
    table = printing.table(*columns, title=title)
    subject = ""
    for check in checks:
        claim = check.claim
        row = [
            "" if claim.subject == subject else claim.subject,
            claim.quantity,
            str(claim.value),
            _number(check.computed),
            {True: "✓", False: "✗", None: ""}[check.agrees],
        ]
        if trained:
            row += [
                "" if check.published is None else str(check.published),
                claim.weights or "",
            ]
        table.add_row(*row)
        subject = claim.subject
    printing.show(table)


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return str(value) if isinstance(value, int) else f"{value:#.4g}"


def _row(check: paper.Check) -> dict:
    """Return the JSON values of a claim."""
    claim = check.claim
    return {
        "table": claim.table,
        "subject": claim.subject,
        "quantity": claim.quantity,
        "paper": claim.value,
        "tolerance": claim.tolerance,
        "computed": check.computed,
        "agrees": check.agrees,
        "weights": claim.weights,
        "published": check.published,
    }
