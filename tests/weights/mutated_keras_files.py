"""Strategies of damaged Keras 3 files, and their readings by HDF5."""

import io
import pathlib
import subprocess
import sys
import warnings
import zipfile

import numpy as np
from hypothesis import strategies as st
from mutated_h5 import odd_h5
from mutations import Draw
from mutations import choose
from mutations import damaged
from mutations import h5_fields
from mutations import misnumbered
from mutations import place_in
from mutations import zip_fields

WEIGHTS = "model.weights.h5"
WAYS = ["bytes", "numbers", "contents"]


@st.composite
def mutated_h5(draw: Draw, content: bytes, way: str) -> bytes:
    match way:
        case "bytes":
            return draw(damaged(content, [content]))
        case "numbers":
            return draw(misnumbered(content, list(h5_fields(content))))
    return draw(odd_h5(content))


@st.composite
def mutated_archive(draw: Draw, content: bytes, way: str) -> bytes:
    match way:
        case "bytes":
            return draw(damaged(content, [content]))
        case "numbers":
            return draw(misnumbered(content, list(zip_fields(content))))
    return draw(repacked(content))


@st.composite
def repacked(draw: Draw, content: bytes) -> bytes:
    """Another archive with true checksums, of other weights or parts."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    packing = zipfile.ZIP_STORED
    name = [*parts][place_in(draw, parts)]
    match choose(draw, *["weights"] * 5, "pack", "drop", "cut", "more", "bomb"):
        case "weights":
            way = choose(draw, *WAYS)
            parts[WEIGHTS] = draw(mutated_h5(parts[WEIGHTS], way))
        case "pack":
            packing = choose(draw, 8, 12, 14)
        case "drop":
            del parts[name]
        case "cut":
            parts[name] = parts[name][: place_in(draw, parts[name])]
        case "more":
            names = ["../x", "/x", "assets/x", "model.weights.npz", "\n"]
            parts[choose(draw, *names)] = b"x"
        case "bomb":
            packing = zipfile.ZIP_DEFLATED
            parts[name] = bytes(choose(draw, 10_000, 5_000_000))
    stream = io.BytesIO()
    with (
        warnings.catch_warnings(action="ignore"),
        zipfile.ZipFile(stream, "w", packing) as archive,
    ):
        for name, part in parts.items():
            archive.writestr(name, part)
    return stream.getvalue()


# What HDF5's own library reads -----------------------------------------------

# Compares files with arrays, from one of them on: a line for each. It may die
# of a file, or be ended by the alarm.
COMPARE = """
import faulthandler, pathlib, sys
import h5py, numpy as np
folder, start, seconds = pathlib.Path(sys.argv[1]), *map(int, sys.argv[2:])
for number in range(start, len([*folder.glob("*.npz")])):
    faulthandler.dump_traceback_later(seconds, exit=True)
    with np.load(folder / f"{number}.npz") as arrays:
        expected = {name.replace(":", "/"): arrays[name] for name in arrays}
    try:
        with h5py.File(folder / f"{number}.h5") as file:
            found = {path: np.array(file[path]) for path in expected}
        same = all(
            found[path].shape == value.shape
            and found[path].astype(found[path].dtype.newbyteorder("="))
            .tobytes() == value.tobytes()
            for path, value in expected.items()
        )
        print("same" if same else "other", flush=True)
    except Exception as error:
        print("refused", flush=True)
"""


class Comparison:
    """Files that were read, and their arrays, to be compared with HDF5's."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.count = 0
        folder.mkdir()

    def add(self, content: bytes, arrays: dict[str, np.ndarray]) -> None:
        """Keep an HDF5 file, and its arrays as they were read here."""
        name = str(self.count)
        (self.folder / f"{name}.h5").write_bytes(content)
        flat = {path.replace("/", ":"): v for path, v in arrays.items()}
        np.savez(self.folder / f"{name}.npz", allow_pickle=False, **flat)
        self.count += 1

    def verdicts(self, seconds: int = 10) -> list[str]:
        """Compare each: `"same"`, `"other"`, `"refused"` or `"hung"`."""
        found: list[str] = []
        while len(found) < self.count:
            arguments = [str(self.folder), str(len(found)), str(seconds)]
            run = subprocess.run(
                [sys.executable, "-c", COMPARE, *arguments],
                capture_output=True,
                text=True,
            )
            found += run.stdout.split()
            if run.returncode:
                found.append("hung" if "Timeout" in run.stderr else "crashed")
        return found
