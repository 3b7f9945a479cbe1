"""Report of an export: size, difference and speed of each file."""

import hashlib
import io
import json
import pathlib
from dataclasses import asdict
from dataclasses import dataclass

import rich.box
import rich.console
import rich.table

from keras_resnext.exporting.input_spec import InputSpec


@dataclass(frozen=True)
class ExportedFile:
    """Exported file.

    Args:
        format: The format's name.
        path: File or folder, inside the report's `directory`.
        bytes: Size on disk.
        sha256: SHA-256 of the file, as of `sha256_of`.
        difference: Largest difference of an output from the Keras model's, as
            a share of the largest output.
        agreement: Share of images with the same largest output.
        accuracy: Share of images that are classified correctly; `None` if
            their classes are unknown.
        latency_ms: Median time for one image, in milliseconds.
        images_per_second: Throughput in batches of 32 images.
        ok: Whether the difference is within the format's tolerance.
    """

    format: str
    path: str
    bytes: int
    sha256: str
    difference: float
    agreement: float
    accuracy: float | None
    latency_ms: float
    images_per_second: float
    ok: bool


@dataclass(frozen=True)
class ExportReport:
    """Exported files of a model; prints as a table.

    Args:
        model: Name of the model.
        backend: Keras' backend.
        directory: Folder of the files.
        images: Number of images that outputs were compared for.
        synthetic: Whether these images were synthetic.
        accuracy: Share of images that the model itself classifies correctly,
            or `None`.
        input: Input of the files.
        rows: The files.
    """

    model: str
    backend: str
    directory: str
    images: int
    synthetic: bool
    accuracy: float | None
    input: InputSpec
    rows: tuple[ExportedFile, ...]

    @property
    def ok(self) -> bool:
        """True if all files are within their formats' tolerances."""
        return all(row.ok for row in self.rows)

    def write(self, path: pathlib.Path) -> None:
        """Write the report as JSON."""
        path.write_text(json.dumps({**asdict(self), "ok": self.ok}, indent=2))

    def __str__(self) -> str:
        table = rich.table.Table(
            title=f"{self.model} in {self.directory}",
            caption=f"Compared with Keras on {self.images} "
            f"{'synthetic' if self.synthetic else 'given'} images"
            + (
                ""
                if self.accuracy is None
                else f", whose accuracy is {self.accuracy:.2%}"
            ),
            box=rich.box.SIMPLE_HEAD,
        )
        table.add_column("format")
        table.add_column("file")
        accuracy = [] if self.accuracy is None else ["accuracy"]
        for name in ("MB", "difference", "agreement", *accuracy):
            table.add_column(name, justify="right")
        for name in ("ms", "images/s"):
            table.add_column(name, justify="right")
        table.add_column("")
        for row in self.rows:
            table.add_row(
                row.format,
                row.path,
                f"{row.bytes / 1e6:.2f}",
                f"{row.difference:.1e}",
                f"{row.agreement:.1%}",
                *([] if row.accuracy is None else [f"{row.accuracy:.2%}"]),
                f"{row.latency_ms:.1f}",
                f"{row.images_per_second:.0f}",
                "ok" if row.ok else "NOT EQUAL",
            )
        text = io.StringIO()
        rich.console.Console(file=text, width=110).print(table)
        return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


def sha256_of(path: pathlib.Path) -> str:
    """Return the SHA-256 of a file, or of the files of a folder, in hex.

    A folder's is that of the lines that `sha256sum` would print for its files,
    sorted by their paths inside it.
    """
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    files = sorted(file for file in path.rglob("*") if file.is_file())
    lines = (
        f"{sha256_of(file)}  {file.relative_to(path).as_posix()}\n"
        for file in files
    )
    return hashlib.sha256("".join(lines).encode()).hexdigest()


class ExportError(RuntimeError):
    """A file can't be written, doesn't run, or differs from the model.

    Args:
        message: The reason.
        report: Report of all files, or `None`.
    """

    def __init__(
        self, message: str, report: ExportReport | None = None
    ) -> None:
        super().__init__(message)
        self.report = report
