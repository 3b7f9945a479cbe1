"""Models and images with a known accuracy."""

import pathlib
from collections.abc import Iterator

import keras
import numpy as np
import PIL.Image
import tensorflow_datasets as tfds

import keras_resnext
from keras_resnext import imagenet

MODEL = "resnext26ts"
SIZE = 64
COLORS = {"blue": 2, "green": 1, "red": 0}
# What each image of ImageNet is labeled as: the model's first choice,
# its second, ... So of seven three are right, and five among five.
RANKS = (0, 0, 0, 1, 4, 5, 900)


def by_color(name: str, order: list[int], size: int | None = 8) -> keras.Model:
    """Build a model that distinguishes colors by the mean of a channel."""
    first = keras.config.image_data_format() == "channels_first"
    shape = (3, size, size) if first else (size, size, 3)
    inputs = keras.Input(shape)
    stem = keras_resnext.layers.Conv2D(3, 1, use_bias=False, name="stem_conv1")
    features = keras.layers.GlobalAveragePooling2D()(stem(inputs))
    stem.set_weights([np.eye(3).reshape(1, 1, 3, 3)])
    head = keras.layers.Dense(3, name="predictions")
    model = keras.Model(inputs, head(features), name=name)
    head.set_weights([np.eye(3)[order].T, np.zeros(3)])
    return model


def write_models() -> None:
    """Into the working folder."""
    right = list(COLORS.values())
    for name in ("colors", "stopped"):
        by_color(name, right).save(f"{name}.keras")
    by_color("mistaken", [1, 2, 0]).save("mistaken.keras")
    by_color("any", right, None).save("any.keras")
    broken = by_color("nan", right)
    broken.set_weights([np.nan * value for value in broken.get_weights()])
    broken.save("nan.keras")
    inputs = keras.Input((8, 8, 3))
    maps = keras.layers.Conv2D(3, 2)(inputs)
    keras.Model(inputs, maps, name="maps").save("maps.keras")
    inputs = keras.Input((4,))
    vectors = keras.layers.Dense(3)(inputs)
    keras.Model(inputs, vectors, name="vectors").save("vectors.keras")


def save_image(path: str, color: str, seed: int = 0) -> None:
    """Save a noisy image of a color."""
    file = pathlib.Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(noise(color, seed)).save(file)


def noise(color: str, seed: int) -> np.ndarray:
    pixels = np.random.default_rng(seed).integers(0, 99, (12, 15, 3), "uint8")
    pixels[..., COLORS[color]] += 150
    return pixels


def write_folders() -> None:
    """Into the working folder; twelve of fifteen in `colors` are right."""
    labels = {
        "blue": ["blue"] * 4 + ["red"],
        "green": ["green"] * 3 + ["blue"] * 2,
        "red": ["red"] * 5,
    }
    for label, colors in labels.items():
        for i, color in enumerate(colors):
            save_image(f"colors/{label}/{i}.png", color, i)
        save_image(f"parts/validation/{label}/1.JPG", label)
        save_image(f"parts/test/{label}/1.png", "green")
        save_image(f"two/{'red' if label == 'red' else 'blue'}/1.png", label)
        save_image(f"broken/{label}/1.png", label)
        save_image(f"cut/{label}/1.png", label)
    # None of these is an image of a class.
    save_image("colors/.thumbnails/1.png", "red")
    save_image("colors/1.png", "red")
    pathlib.Path("colors/blue/notes.txt").write_text("notes")
    pathlib.Path("broken/red/text.png").write_text("no image")
    cut = pathlib.Path("cut/red/1.png")
    cut.write_bytes(cut.read_bytes()[:-40])


def write_imagenet() -> None:
    """Save a model with random weights, and images labeled by its choices."""
    shape = (SIZE, SIZE, 3)
    model = keras_resnext.get_model(MODEL, weights=None, input_shape=shape)
    keras_resnext.save_torch_checkpoint(model, "random.safetensors")
    model.save_weights("random.weights.h5")
    transform = keras_resnext.EvaluationTransform(int(SIZE / 0.875), SIZE)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (len(RANKS), 80, 90, 3), "uint8")
    batch = np.stack([transform(image) for image in images])
    choices = np.argsort(-model.predict(batch, verbose=0))
    wnids = [each.wnid for each in imagenet.classes()]
    for i, rank in enumerate(RANKS):
        folder = pathlib.Path("wordnet", wnids[choices[i, rank]])
        folder.mkdir(parents=True, exist_ok=True)
        PIL.Image.fromarray(images[i]).save(folder / f"{i}.png")
    save_image(f"one/{wnids[0]}/1.png", "blue")


class PlainColors(tfds.core.GeneratorBasedBuilder):
    """Ten images, nine of them as the first model here sees them."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        features = {
            "image": tfds.features.Image(encoding_format="png"),
            "label": tfds.features.ClassLabel(names=list(COLORS)),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("image", "label"),
        )

    def _split_generators(self, dl_manager: object) -> dict:
        return {"train": self._generate_examples()}

    def _generate_examples(self) -> Iterator[tuple[int, dict]]:
        for i in range(10):
            color = list(COLORS)[i % 3]
            label = color if i else "red"
            yield i, {"image": noise(color, i), "label": label}


def write_tfds() -> None:
    """Into the working folder."""
    tfds.disable_progress_bar()
    PlainColors(data_dir="tfds").download_and_prepare()
