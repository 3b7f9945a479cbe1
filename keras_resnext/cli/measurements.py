"""Measurements of accuracy: progress, text and lines of CSV."""

import contextlib
import csv
import pathlib
from collections.abc import Callable
from collections.abc import Iterator

import keras
import rich.console
import rich.progress
import rich.table

import keras_resnext
from keras_resnext.cli.subjects import Subject
from keras_resnext.data.evaluation import Classifier
from keras_resnext.data.evaluation import LabeledImages
from keras_resnext.data.evaluation import Tally

COLUMNS = (
    "model",
    "tag",
    "dataset",
    "split",
    "images",
    "size",
    "crop_pct",
    "interpolation",
    "backend",
    "dtype_policy",
    "top1",
    "top5",
    "published_top1",
    "published_top5",
    "images_per_second",
    "keras_version",
)


def row(
    subject: Subject,
    classifier: Classifier,
    images: LabeledImages,
    tally: Tally,
) -> dict[str, object]:
    """Return a measurement, by the names of `COLUMNS`."""
    evaluations = subject.record.evaluations if subject.record else ()
    transform = classifier.transform
    sizes = [each for each in evaluations if each.size == transform.crop_size]
    # As evaluation_transform chooses among them.
    crop_pct = (
        [*sizes, *evaluations][0].crop_pct
        if evaluations
        else keras_resnext.DataConfig().crop_pct
    )
    top1, top5 = (sizes[0].top1, sizes[0].top5) if sizes else (None, None)
    cells = (
        subject.variant or classifier.name,
        subject.tag,
        images.name,
        images.split,
        tally.images,
        transform.crop_size,
        f"{crop_pct:.4g}",
        transform.interpolation,
        classifier.backend,
        classifier.dtype_policy,
        f"{tally.top1:.3f}",
        f"{tally.top5:.3f}",
        "" if top1 is None else f"{top1:.3f}",
        "" if top5 is None else f"{top5:.3f}",
        f"{tally.rate:.2f}",
        keras.version(),
    )
    return dict(zip(COLUMNS, cells, strict=True))


def check_csv(path: pathlib.Path) -> None:
    """Refuse a file that rows can't be appended to.

    Raises:
        ValueError: If it has other columns or can't be opened.
    """
    try:
        with path.open("a+", newline="", encoding="utf-8") as file:
            file.seek(0)
            header = next(csv.reader(file), None)
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"Can't append to '{path}': {error}") from None
    if header not in (None, list(COLUMNS)):
        raise ValueError(
            f"'{path}' has other columns than a measurement. Use another file."
        )


def append_csv(path: pathlib.Path, row: dict[str, object]) -> None:
    """Append a measurement to a CSV file."""
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if file.tell() == 0:
            writer.writeheader()
        writer.writerow(row)


@contextlib.contextmanager
def progress(name: str, count: int) -> Iterator[Callable[[Tally], None]]:
    """Show a progress bar on a terminal; the yielded function advances it."""
    console = rich.console.Console(stderr=True)
    bar = rich.progress.Progress(
        rich.progress.TextColumn(
            "{task.description}",
            markup=False,
            # Leaves room for the figures in 80 columns.
            table_column=rich.table.Column(no_wrap=True, max_width=20),
        ),
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TextColumn("{task.fields[figures]}"),
        rich.progress.TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    task = bar.add_task(name, total=count, figures="")

    def show(tally: Tally) -> None:
        figures = f"top-1 {tally.top1:.2f} %, {tally.rate:.1f} images/s"
        bar.update(task, completed=tally.images, figures=figures)

    with bar:
        yield show


def text(name: str, row: dict[str, object]) -> str:
    """Return a measurement as text."""
    figures = [
        f"{label} {row[key]} %" + (f" (published {known} %)" if known else "")
        for label, key in (("top-1", "top1"), ("top-5", "top5"))
        for known in [row[f"published_{key}"]]
    ]
    return (
        f"{name}\n  {', '.join(figures)}\n"
        f"  {row['images']:,} images of {row['size']} pixels, "
        f"{row['images_per_second']} per second"
    )
