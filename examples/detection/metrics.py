"""COCO's measures of predicted boxes, by its own tools."""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pycocotools.coco import COCO


@dataclass(frozen=True)
class Measures:
    """Accuracy of predicted boxes, from 0 to 1; `None` without objects.

    Args:
        map: Mean average precision: over classes, and over overlaps with the
            true box from 0.5 to 0.95.
        map50: mAP at an overlap of 0.5.
        map75: mAP at an overlap of 0.75.
        small: mAP of objects of fewer than 32² pixels.
        medium: mAP of objects of up to 96² pixels.
        large: mAP of larger objects.
        classes: mAP of each class, by its name.
    """

    map: float | None
    map50: float | None
    map75: float | None
    small: float | None
    medium: float | None
    large: float | None
    classes: dict[str, float | None]


def measure(
    true: Sequence[np.ndarray],
    found: Sequence[np.ndarray],
    labels: Sequence[str],
) -> Measures:
    """Compare predicted objects with the true ones.

    Args:
        true: Objects of each image, `(n, 6)`: left, top, right and bottom edge
            in pixels, class, and 1 if evaluation ignores it.
        found: Predictions, likewise, with a score at the end.
        labels: Names of the classes.

    Returns:
        Measures in pixels of the images that the model saw.
    """
    # Slow to import, and only needed here.
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        comparison = COCOeval(
            _indexed(true, len(labels), "iscrowd"),
            _indexed(found, len(labels), "score"),
            iouType="bbox",
        )
        comparison.evaluate()
        comparison.accumulate()
        comparison.summarize()
    # Overlap, recall, class, size, maximum number of predictions.
    precision = comparison.eval["precision"][:, :, :, 0, -1]
    names = ("map", "map50", "map75", "small", "medium", "large")
    shares = map(_share, comparison.stats)
    return Measures(
        **dict(zip(names, shares, strict=False)),
        classes={
            label: _share(precision[..., number].mean())
            for number, label in enumerate(labels)
        },
    )


def _indexed(images: Sequence[np.ndarray], classes: int, last: str) -> "COCO":
    """Return objects for COCO's tools, whose numbers start at 1."""
    from pycocotools.coco import COCO

    annotations: list[dict] = []
    for image, objects in enumerate(images, start=1):
        for left, top, right, bottom, kind, value in objects.tolist():
            width, height = right - left, bottom - top
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": int(kind) + 1,
                    "bbox": [left, top, width, height],
                    "area": width * height,
                    "iscrowd": 0,
                    last: int(value) if last == "iscrowd" else value,
                }
            )
    made = COCO()
    made.dataset = {
        "images": [{"id": i + 1} for i in range(len(images))],
        "categories": [{"id": i + 1} for i in range(classes)],
        "annotations": annotations,
    }
    made.createIndex()
    return made


def _share(value: float) -> float | None:
    """Return a share, or `None` for -1, which means no objects."""
    return None if value < 0 else float(value)
