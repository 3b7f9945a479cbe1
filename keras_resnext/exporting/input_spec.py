"""Input of an exported file: its shape, normalization and images."""

import warnings
from dataclasses import dataclass
from dataclasses import replace
from typing import Any
from typing import Self

import keras
import numpy as np
from keras import ops

from keras_resnext.data_config import DataConfig
from keras_resnext.inner import Graph
from keras_resnext.preprocessing import EvaluationTransform
from keras_resnext.preprocessing import evaluation_transform
from keras_resnext.resnext_model import get_data_config
from keras_resnext.resnext_model import stored_config

SYNTHETIC = 8


@dataclass(frozen=True)
class InputSpec:
    """Input of an exported file.

    Args:
        size: Height and width, each `None` for any.
        channels: Number of channels.
        data_format: Data format of the model.
        transform: Resize, crop and normalization of the model's images.
        pixels: Whether the file normalizes pixels itself.
    """

    size: tuple[int | None, int | None]
    channels: int
    data_format: str
    transform: EvaluationTransform
    pixels: bool

    @classmethod
    def of_model(
        cls,
        model: keras.Model,
        transform: EvaluationTransform | None,
        pixels: bool,
    ) -> Self:
        """Return the input of a model's files.

        Raises:
            ValueError: If images are not the model's only input.
        """
        shapes = [tuple(x.shape) for x in model.inputs]
        shape = shapes[0]
        if len(shapes) != 1 or len(shape) != 4:
            raise ValueError(
                f"'{model.name}' must have images as its only input to be "
                f"exported. Its inputs: {shapes}."
            )
        convolutions = (
            layer
            for layer in model._flatten_layers()
            if isinstance(layer, keras.layers.Conv2D)
        )
        data_format = next(convolutions).data_format
        first = data_format == "channels_first"
        channels = shape[1] if first else shape[3]
        size = shape[2:4] if first else shape[1:3]
        if pixels and channels not in (1, 3):
            raise ValueError(
                f"'{model.name}' takes {channels} channels, which are not "
                "pixels. Use include_preprocessing=False."
            )
        if transform is None:
            transform = _transform(
                model, max((x for x in size if x), default=None)
            )
        if channels in (1, 3):
            transform = transform.for_channels(channels)
        return cls(size, channels, data_format, transform, pixels)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Return an input from its values, as `dataclasses.asdict` gives."""
        fields: dict[str, Any] = dict(values["transform"])
        for name in ("mean", "std"):  # lists in JSON
            fields[name] = tuple(fields[name])
        transform = EvaluationTransform(**fields)
        size = tuple(values["size"])
        return cls(**{**values, "size": size, "transform": transform})

    @property
    def name(self) -> str:
        """Name of the file's input."""
        return "pixels" if self.pixels else "images"

    @property
    def takes_images(self) -> bool:
        """True for RGB and gray, to which image files can be converted."""
        return self.channels in (1, 3)

    @property
    def takes_pixels(self) -> bool:
        """True if the input is pixels in [0, 255], normalized by the file."""
        own = np.allclose(self.scale, 1) and np.allclose(self.offset, 0)
        return self.pixels or bool(own)

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """Heights and widths of validation images, two if any size is valid."""
        side = self.transform.crop_size
        height, width = (size or side for size in self.size)
        if None not in self.size:
            return [(height, width)]
        # One and a half times the size, rounded up to a multiple of 32.
        more = [-(-3 * size // 64) * 32 for size in (height, width)]
        return [(height, width), (self.size[0] or more[0], width)]

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Shape of one image as the file takes it."""
        if not self.pixels and self.data_format == "channels_first":
            return (self.channels, *self.size)
        return (*self.size, self.channels)

    @property
    def scale(self) -> np.ndarray:
        return 1 / (255 * np.resize(self.transform.std, self.channels))

    @property
    def offset(self) -> np.ndarray:
        offset = -np.divide(self.transform.mean, self.transform.std)
        return np.resize(offset, self.channels)

    def normalize(self, pixels: np.ndarray) -> np.ndarray:
        """Convert pixels to the input of the model itself."""
        # In double precision, unlike in files.
        x = (pixels * self.scale + self.offset).astype("float32")
        first = self.data_format == "channels_first"
        return np.ascontiguousarray(x.transpose(0, 3, 1, 2)) if first else x

    def synthesize(self, size: tuple[int, int] | None = None) -> np.ndarray:
        """Return random inputs of the file, the same in every call.

        Their power falls with the square of the frequency, as it does in
        photographs (Field, 1987, https://doi.org/10.1364/JOSAA.4.002379).

        Args:
            size: Height and width; `None` takes the first of `sizes`.

        Returns:
            Pixels as uint8, or the input of the model as float32.
        """
        random = np.random.default_rng(0)
        height, width = size or self.sizes[0]
        noise = random.normal(size=(SYNTHETIC, height, width, self.channels))
        # The channels of photographs are correlated.
        noise += 2 * noise.mean(-1, keepdims=True)
        frequency = np.hypot(
            np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None, :]
        )
        frequency[0, 0] = np.inf
        spectrum = np.fft.fft2(noise, axes=(1, 2)) / frequency[..., None]
        x = np.fft.ifft2(spectrum, axes=(1, 2)).real
        x /= x.std((1, 2, 3), keepdims=True)
        means = random.uniform(70, 185, (SYNTHETIC, 1, 1, 1))
        pixels = np.clip(means + 55 * x, 0, 255).round().astype("uint8")
        return pixels if self.pixels else self.normalize(pixels)

    def wrap(self, model: keras.Model, dtype: str) -> keras.Model:
        """Prepend the normalization to a model, for inference only.

        Args:
            model: The model.
            dtype: Dtype of the input, if the file takes pixels.

        Returns:
            A `keras.Model` that returns a dictionary of named outputs.
        """
        inputs = keras.Input(
            self.shape,
            dtype=dtype if self.pixels else "float32",
            name=self.name,
        )
        x = inputs
        if self.pixels:
            # `Rescaling` depends on the global data format.
            x = ops.cast(x, "float32") * self.scale.astype("float32")
            x = x + self.offset.astype("float32")
            if self.data_format == "channels_first":
                x = ops.transpose(x, (0, 3, 1, 2))
        outputs = model(structured(model, x), training=False)
        outputs = named_outputs(model, outputs)
        return keras.Model(inputs, outputs, name=model.name)


def structured(model: keras.Model, images: Any) -> Any:
    """Return images in the structure of a model's input."""
    if isinstance(model, keras.Sequential):  # which has no `input` of its own
        return images
    return keras.tree.pack_sequence_as(model.input, [images])


def named_outputs(model: keras.Model, outputs: Any) -> dict[str, Any]:
    """Return the outputs of a model as a flat dictionary.

    Args:
        model: The model.
        outputs: Tensors or arrays in the structure of the model's output.

    Returns:
        A dictionary. Its keys are the model's own, joined by `_` if nested, or
        the names of its last layers; a single output is called
        `"probabilities"`, `"logits"` or `"features"`.
    """
    flat = keras.tree.flatten(outputs)
    if isinstance(outputs, dict):
        paths = [path for path, _ in keras.tree.flatten_with_path(outputs)]
        names = ["_".join(map(str, path)) for path in paths]
    elif len(flat) == 1:
        names = [kind_of(model)]
    else:
        names = [each._keras_history.operation.name for each in model.outputs]
    if len(set(names)) < len(names):
        names = [f"{name}_{i}" for i, name in enumerate(names)]
    return dict(zip(names, flat, strict=True))


def kind_of(model: keras.Model) -> str:
    """Return the kind of a single output."""
    if len(model.outputs[0].shape) != 2:
        return "features"
    graph = Graph(model)
    source = graph.source(graph.outputs[0])
    last = source.layer if source else None
    activation = getattr(last, "activation", None)
    if isinstance(last, keras.layers.Softmax) or activation in (
        keras.activations.softmax,
        keras.activations.sigmoid,
    ):
        return "probabilities"
    return "logits" if isinstance(last, keras.layers.Dense) else "features"


def _transform(model: keras.Model, size: int | None) -> EvaluationTransform:
    """Return the transform of a model's images; warn if it is unknown."""
    config = get_data_config(model)
    if stored_config(model) is None and config == DataConfig(
        labels=config.labels
    ):
        warnings.warn(
            f"The normalization of the images of '{model.name}' is unknown: "
            "ImageNet's mean and standard deviation are used. If that is "
            "right, keras_resnext.set_data_config(model, size=224) confirms "
            "it; else pass `transform`, or mean= and std= there.",
            UserWarning,
            stacklevel=4,
        )
    size = size or config.size
    if size is None:
        raise ValueError(
            f"The size of the images of '{model.name}' is unknown. Pass "
            "`transform`, or set it on the model: "
            "keras_resnext.set_data_config(model, size=224)."
        )
    return evaluation_transform(replace(config, size=size))
