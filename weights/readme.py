"""Write weights/README.md, the table of models and published weights.

python weights/readme.py
"""

import contextlib
import pathlib
import sys
import textwrap
from collections import Counter
from collections.abc import Callable
from collections.abc import Iterator
from functools import cache
from typing import Any
from typing import NamedTuple

import keras
import rich.console

import keras_resnext

PATH = pathlib.Path(__file__).with_name("README.md")

HEAD = """\
<!-- python weights/readme.py writes this page; do not edit it. -->

# Models and published weights

`keras_resnext.get_model("variant.tag")` builds a model with one of these
checkpoints, and each variant has a callable of its name, with capitals:
`keras_resnext.SEResNeXt50_32x4d(weights="tag")`. The tag in **bold** is that of
`weights="imagenet"`: the checkpoint with the highest published top-1 accuracy
whose license allows commercial use. `keras_resnext.list_weights()` returns all
rows of the table, and further transforms.

- *Parameters*: trainable parameters, including those of the classifier, for
  1,000 classes unless a note states otherwise.
- *Multiply-adds*: of the convolutions and the classifier, for one image of
  *size* x *size* pixels, in billions.
- *Top-1*, *top-5*: published accuracies on ImageNet's validation set, in
  percent, not measured here unless a note states otherwise. The image's shorter
  side is resized to *size* / *crop* pixels, and its center of *size* x *size*
  cropped; `keras_resnext.evaluation_transform` does exactly that.

## Tools

```bash
keras-resnext convert resnext50_32x4d.a1_in1k a1.keras
keras-resnext convert flowers.keras flowers.safetensors
keras-resnext evaluate resnext50_32x4d.a1_in1k --dataset imagenet2012
keras-resnext evaluate 'resnext50*' --dataset path/to/val --csv runs.csv
```

`keras-resnext convert` converts checkpoints of PyTorch, timm, torchvision and
the old keras-applications to files of Keras, and back to timm's; it loads the
new file and compares it bit for bit. `evaluate` measures top-1 and top-5
accuracy as it was published: the same size, crop and interpolation, by Pillow.
`--help` lists all options.

## Licenses

The code is under Apache-2.0; each checkpoint has its authors' license, listed
in the table. CC BY-NC 4.0 forbids commercial use, and a checkpoint without a
stated license grants none: `list_weights(license="commercial")` excludes both.
It is up to you to judge what ImageNet's own terms mean for weights that were
trained on it.

## Verification

Whenever one of these files is loaded, cached or not, its content is compared
with a hash. A file that differs is refused, and removed from the cache of the
Hugging Face hub or of Keras; your own files, loaded by path, are neither
compared nor changed. Of the files:

"""

VERIFICATION = {
    "SHA-256": "are compared with the full SHA-256 that is recorded here.",
    "the hub's own hash": "are on the Hugging Face hub, and their SHA-256 is "
    "not recorded here. They are compared with the hash that the hub sends "
    "with the download, which is also the file's name in the cache: this "
    "detects damage, but not a file that its owner replaced on the hub. In a "
    "cache without symbolic links, only the download is compared.",
    "the SHA-256's first digits": "are compared with the first eight or nine "
    "hex digits of the SHA-256, which are in their names.",
    "MD5": "are compared with their MD5: this detects damage, but not "
    "necessarily tampering.",
}
PINNED = """\
Of the {hub} files on the hub, {pinned} are taken from a fixed commit, the
others from the branch `main`.

"""

TABLE = "## Table\n\n"

LEFT, RIGHT = "---", "---:"
COLUMNS = {
    "variant": LEFT,
    "tag": LEFT,
    "parameters": RIGHT,
    "multiply-adds": RIGHT,
    "top-1": RIGHT,
    "top-5": RIGHT,
    "size": RIGHT,
    "crop": RIGHT,
    "license": LEFT,
    "source": LEFT,
    "notes": LEFT,
}

LICENSES = {
    "apache-2.0": "Apache-2.0",
    "bsd-3-clause": "BSD-3-Clause",
    "cc-by-nc-4.0": "CC BY-NC 4.0",
    "mit": "MIT",
    "noassertion": "not stated",
}


class Cost(NamedTuple):
    """Cost of a model: parameters, and multiply-adds of an image."""

    parameters: int
    multiply_adds: int


@cache
def cost(variant: str, size: int, classes: int) -> Cost:
    """Build a model without allocating weights, and count."""
    with keras.StatelessScope(initialize_variables=False):
        model = keras_resnext.get_model(
            variant,
            weights=None,
            classes=classes,
            input_shape=(size, size, 3),
        )
    return Cost(
        keras_resnext.complexity.num_parameters(model),
        keras_resnext.complexity.multiply_adds(model),
    )


def page(cost: Callable[[str, int, int], Cost] = cost) -> str:
    """Return the page, with costs by a function."""
    notes: dict[str, int] = {}
    table = [tuple(COLUMNS), tuple(COLUMNS.values())]
    for variant in keras_resnext.VARIANTS:
        table += rows(variant, cost, notes)
    lines = ["| " + " | ".join(cells) + " |" for cells in table]
    numbered = [f"{number}. {note}" for note, number in notes.items()]
    table_and_notes = [*lines, "", "## Notes", "", *numbered, ""]
    return HEAD + verification() + TABLE + "\n".join(table_and_notes)


def verification() -> str:
    """Return sentences on the hashes of files, with the number of files."""
    files = {
        source
        for record in keras_resnext.list_weights()
        for source in record.sources
    }
    counts = Counter(source.verified_by for source in files)
    if not counts.keys() <= VERIFICATION.keys():
        raise ValueError(f"no sentence on {counts.keys() - VERIFICATION}")
    lines = [
        textwrap.fill(
            f"{counts[kind]} {sentence}",
            79,
            initial_indent="- ",
            subsequent_indent="  ",
        )
        for kind, sentence in VERIFICATION.items()
        if counts[kind]
    ]
    revisions = [file.revision for file in files if hasattr(file, "revision")]
    pinned = sum(revision != "main" for revision in revisions)
    return (
        "\n".join(lines)
        + "\n\n"
        + PINNED.format(hub=len(revisions), pinned=pinned)
    )


def rows(
    variant: str, cost: Callable[[str, int, int], Cost], notes: dict[str, int]
) -> Iterator[tuple[str, ...]]:
    """Yield the lines of one variant, cell by cell, and number its notes."""
    published = [
        record
        for record in keras_resnext.list_weights()
        if record.variant == variant
    ]
    if not published:
        size = keras_resnext.VARIANTS[variant].default_size
        found = cost(variant, size, 1000)
        yield (
            variant,
            "no weights",
            f"{found.parameters:,}",
            billions(found),
            *("", ""),
            str(size),
            *("", "", "", ""),
        )
    default = None
    with contextlib.suppress(ValueError):  # if it has none
        default = keras_resnext.get_weights(variant)
    for record in published:
        tag = f"`{record.tag}`"
        yield (
            variant,
            f"**{tag}**" if record is default else tag,
            f"{record.num_params:,}",
            billions(cost(variant, record.eval_size, record.classes)),
            "" if record.top1 is None else f"{record.top1:.2f}",
            "" if record.top5 is None else f"{record.top5:.2f}",
            str(record.eval_size),
            f"{record.crop_pct:.3f}",
            LICENSES.get(record.license, record.license),
            link(record.sources[0]),
            ", ".join(
                f"[{notes.setdefault(note, len(notes) + 1)}](#notes)"
                for note in remarks(record)
            ),
        )


def remarks(record: keras_resnext.Weights) -> list[str]:
    """Return remarks on a checkpoint."""
    found = []
    if record.dataset != "imagenet":
        found.append(
            f"{record.classes:,} classes, and accuracy on the test set, of "
            f"{record.dataset}."
        )
    elif record.classes != 1000:
        found.append(
            f"{record.classes:,} classes, for which no accuracy is published; "
            "meant to be fine-tuned."
        )
    return [*found, record.note] if record.note else found


def link(source: Any) -> str:
    """Return a link to the page of a file on the hub, or to another file."""
    if hasattr(source, "repo_id"):
        return f"[hub](https://huggingface.co/{source.repo_id})"
    if hasattr(source, "url"):
        return f"[file]({source.url})"
    return f"[included](../keras_resnext/weights/bundled/{source.filename})"


def billions(cost: Cost) -> str:
    return f"{cost.multiply_adds / 1e9:,.2f}"


def main() -> int:
    """Run the script, and return its exit status."""
    with rich.console.Console(stderr=True).status("Building the models"):
        text = page()
    PATH.write_text(text, encoding="utf-8")
    variants, published = keras_resnext.VARIANTS, keras_resnext.list_weights()
    print(f"{PATH}: {len(variants)} models, {len(published)} checkpoints")
    return 0


if __name__ == "__main__":
    sys.exit(main())
