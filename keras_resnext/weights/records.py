"""Records of published checkpoints. Standard library only."""

from dataclasses import dataclass

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

_PERMISSIVE = frozenset({"apache-2.0", "bsd-3-clause", "mit"})


@dataclass(frozen=True)
class HubFile:
    """A file on the Hugging Face hub.

    Args:
        repo_id: Repository, as `"owner/name"`.
        filename: The file's path inside it.
        revision: Branch, or a commit's full 40 hex digits.
        sha256: SHA-256 of the file in hex, or `None` if unknown.
        has_top: Whether the file contains the classifier.
    """

    repo_id: str
    filename: str = "model.safetensors"
    revision: str = "main"
    sha256: str | None = None
    has_top: bool = True

    @property
    def verified_by(self) -> str:
        """Hash that the file is compared with.

        The hub sends its own hash with the download; it is also the file's
        name in a cache with symbolic links.
        """
        return "SHA-256" if self.sha256 else "the hub's own hash"


@dataclass(frozen=True)
class WebFile:
    """A file at a plain address.

    Args:
        url: The address.
        sha256_prefix: First hex digits of the file's SHA-256, which torch's
            file names end in, or `None`.
        md5: MD5 of the file in hex, or `None`.
        has_top: Whether the file contains the classifier.
    """

    url: str
    sha256_prefix: str | None = None
    md5: str | None = None
    has_top: bool = True

    @property
    def verified_by(self) -> str:
        """Hash that the file is compared with."""
        if self.sha256_prefix:
            return "the SHA-256's first digits"
        return "MD5" if self.md5 else "nothing"


@dataclass(frozen=True)
class PackageFile:
    """A file in this package.

    Args:
        filename: Its name in the folder `keras_resnext/weights/bundled`.
        sha256: SHA-256 of the file in hex.
        has_top: Whether the file contains the classifier.
    """

    filename: str
    sha256: str
    has_top: bool = True

    @property
    def verified_by(self) -> str:
        """Hash that the file is compared with."""
        return "SHA-256"


@dataclass(frozen=True)
class Evaluation:
    """A published accuracy, and its transform.

    It was measured on ImageNet's validation set, or on the test set of
    another dataset that the weights were trained on.

    Args:
        size: Height and width of the model's input, in pixels.
        crop_pct: `size` divided by the image's shorter side after resizing.
        top1: Top-1 accuracy in percent, or `None` if not published.
        top5: Top-5 accuracy in percent, or `None` if not published.
    """

    size: int
    crop_pct: float
    top1: float | None = None
    top5: float | None = None


@dataclass(frozen=True)
class Weights:
    """A published checkpoint of one variant.

    Args:
        variant: The variant's name, for example `"resnext50_32x4d"`.
        tag: Name of the training run, for example `"a1h_in1k"`.
        sources: Sources of the files, in the order in which they are tried.
        license: SPDX identifier in lower case; `"noassertion"`, SPDX's own
            term, if none is stated.
        num_params: Trainable parameters, with the classifier.
        train_size: Height and width of the training images, in pixels.
        evaluations: Published accuracies, the best first.
        interpolation: Filter of the resize, `"bilinear"` or `"bicubic"`.
        layout: Layout of the file: names and shapes of its tensors.
        classes: Number of classes of the classifier.
        dataset: Dataset of the classes and of the accuracy.
        mean: Mean of each channel (RGB), for pixels in [0, 1].
        std: Standard deviation of each channel, likewise.
        note: Further remarks for users.

    Example:
    >>> weights = keras_resnext.get_weights("resnext50_32x4d.tv2_in1k")
    >>> weights.name, weights.license, weights.top1
    ('resnext50_32x4d.tv2_in1k', 'bsd-3-clause', 81.19)
    """

    variant: str
    tag: str
    sources: tuple[HubFile | WebFile | PackageFile, ...]
    license: str
    num_params: int
    train_size: int
    evaluations: tuple[Evaluation, ...]
    interpolation: str
    layout: str = "timm_resnet"
    classes: int = 1000
    dataset: str = "imagenet"
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    note: str = ""

    @property
    def name(self) -> str:
        """`variant.tag`, unique in the catalog."""
        return f"{self.variant}.{self.tag}"

    @property
    def top1(self) -> float | None:
        """Top-1 accuracy in percent of the best evaluation."""
        return self.evaluations[0].top1

    @property
    def top5(self) -> float | None:
        """Top-5 accuracy in percent of the best evaluation."""
        return self.evaluations[0].top5

    @property
    def eval_size(self) -> int:
        """Input height and width in pixels of the best evaluation."""
        return self.evaluations[0].size

    @property
    def crop_pct(self) -> float:
        """Crop size / resized shorter side of the best evaluation."""
        return self.evaluations[0].crop_pct

    @property
    def permissive(self) -> bool:
        """True if the license allows commercial use."""
        return self.license in _PERMISSIVE
