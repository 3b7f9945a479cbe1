"""Ways to build a model around ours, and its heads."""

import warnings
from typing import Any

import keras
import numpy as np
from keras import ops

import keras_resnext

SIZE = 16
CLASSES = 5
# What `Normalization` is adapted to.
PIXELS = np.random.default_rng(2).uniform(0, 255, (8, SIZE, SIZE, 3))


class Subclassed(keras.Model):
    """A model written as a class, with ours as an attribute."""

    def __init__(self, backbone: keras.Model, head: list) -> None:
        super().__init__(name="outer")
        self.backbone = backbone
        self.head = head

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        x = self.backbone(inputs, training=training)
        for layer in self.head:
            x = layer(x)
        return x


def backbone(
    config: keras_resnext.ResNeXtConfig, **options: Any
) -> keras.Model:
    return keras_resnext.ResNeXt(
        config,
        include_top=False,
        **{"pooling": "avg", "input_shape": (SIZE, SIZE, 3), **options},
    )


def image() -> keras.KerasTensor:
    return keras.Input((SIZE, SIZE, 3), name="image")


def augmentation() -> keras.Model:
    layers = [keras.layers.RandomFlip(), keras.layers.RandomContrast(0.1)]
    return keras.Sequential(layers, name="augmentation")


def call(layers: list, x: Any) -> Any:
    for layer in layers:
        x = layer(x)
    return x


def flat(config: keras_resnext.ResNeXtConfig, head: list) -> keras.Model:
    base = backbone(config)
    return keras.Model(base.input, call(head, base.output), name="outer")


def nested(config: keras_resnext.ResNeXtConfig, head: list) -> keras.Model:
    x = inputs = image()
    x = backbone(config)(x, training=False)
    return keras.Model(inputs, call(head, x), name="outer")


def sequential(config: keras_resnext.ResNeXtConfig, head: list) -> keras.Model:
    layers = [image(), backbone(config), *head]
    return keras.Sequential(layers, name="outer")


def doubly_nested(
    config: keras_resnext.ResNeXtConfig, head: list
) -> keras.Model:
    inputs = image()
    x = keras.layers.Rescaling(1 / 127.5, -1)(inputs)
    inner = keras.Model(inputs, backbone(config)(x), name="inner")
    return keras.Sequential([image(), inner, *head], name="outer")


def augmented(config: keras_resnext.ResNeXtConfig, head: list) -> keras.Model:
    """keras.io's recipe of transfer learning."""
    x = inputs = image()
    x = augmentation()(x)
    x = keras.layers.Rescaling(1 / 127.5, -1)(x)
    x = backbone(config, pooling=None)(x, training=False)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, call(head, x), name="outer")


def augmented_flat(
    config: keras_resnext.ResNeXtConfig, head: list
) -> keras.Model:
    x = inputs = image()
    x = call([keras.layers.RandomFlip(), keras.layers.Rescaling(0.02)], x)
    x = backbone(config, input_tensor=x, input_shape=None).output
    return keras.Model(inputs, call(head, x), name="outer")


def normalized(config: keras_resnext.ResNeXtConfig, head: list) -> keras.Model:
    x = inputs = image()
    normalize = keras.layers.Normalization()
    normalize.adapt(PIXELS.astype("float32"))
    x = backbone(config)(normalize(x), training=False)
    return keras.Model(inputs, call(head, x), name="outer")


def two_inputs(config: keras_resnext.ResNeXtConfig, head: list) -> keras.Model:
    inputs = {"age": keras.Input((2,), name="age"), "image": image()}
    x = backbone(config)(inputs["image"])
    x = keras.layers.Concatenate()([x, inputs["age"]])
    return keras.Model(inputs, call(head, x), name="outer")


def two_outputs(config: keras_resnext.ResNeXtConfig, head: list) -> keras.Model:
    inputs = image()
    features = backbone(config)(inputs)
    outputs = {"features": features, "label": call(head, features)}
    return keras.Model(inputs, outputs, name="outer")


def mixed_precision(
    config: keras_resnext.ResNeXtConfig, head: list
) -> keras.Model:
    keras.config.set_dtype_policy("mixed_bfloat16")
    return nested(config, head)


def subclassed(config: keras_resnext.ResNeXtConfig, head: list) -> keras.Model:
    model = Subclassed(backbone(config), head)
    model(np.zeros((1, SIZE, SIZE, 3), "float32"), training=False)
    return model


def siamese(config: keras_resnext.ResNeXtConfig, head: list) -> keras.Model:
    pair = [image(), keras.Input((SIZE, SIZE, 3), name="other")]
    base = backbone(config)
    x = keras.layers.Subtract()([base(x) for x in pair])
    return keras.Model(pair, call(head, x), name="outer")


def over_time(config: keras_resnext.ResNeXtConfig, head: list) -> keras.Model:
    inputs = keras.Input((2, SIZE, SIZE, 3))
    x = keras.layers.TimeDistributed(backbone(config))(inputs)
    x = keras.layers.GlobalAveragePooling1D()(x)
    return keras.Model(inputs, call(head, x), name="outer")


# With one call of ours, in a graph that Keras knows.
GRAPHS = {
    function.__name__: function
    for function in (
        flat,
        nested,
        sequential,
        doubly_nested,
        augmented,
        augmented_flat,
        normalized,
        two_inputs,
        two_outputs,
        mixed_precision,
    )
}
OTHERS = {
    function.__name__: function for function in (subclassed, siamese, over_time)
}
WAYS = {**GRAPHS, **OTHERS}

Dense = keras.layers.Dense
HEADS = {
    "plain": lambda: [Dense(CLASSES, activation="softmax", dtype="float32")],
    "logits": lambda: [Dense(CLASSES, dtype="float32")],
    "no_bias": lambda: [Dense(CLASSES, use_bias=False, dtype="float32")],
    "softmax_layer": lambda: [
        Dense(CLASSES),
        keras.layers.Activation("softmax", dtype="float32"),
    ],
    "dropout_and_softmax": lambda: [
        keras.layers.Dropout(0.5),
        Dense(CLASSES),
        keras.layers.Softmax(dtype="float32"),
    ],
    "two_dense": lambda: [
        Dense(8, activation="relu"),
        keras.layers.Dropout(0.5),
        Dense(CLASSES, activation="softmax", dtype="float32"),
    ],
    "lora": lambda: [
        Dense(CLASSES, activation="softmax", dtype="float32", name="adapted")
    ],
    "int8": lambda: [
        Dense(CLASSES, activation="softmax", dtype="float32", name="int8")
    ],
}


# Each way and each head.
CASES = [
    ("flat", "plain"),
    ("nested", "lora"),
    ("sequential", "logits"),
    ("doubly_nested", "no_bias"),
    ("augmented", "softmax_layer"),
    ("augmented_flat", "dropout_and_softmax"),
    ("normalized", "two_dense"),
    ("two_inputs", "int8"),
    ("two_outputs", "plain"),
    ("mixed_precision", "plain"),
]
# Ways with layers before ours: in a model, flat, and beside another input.
FEW = ("doubly_nested", "augmented_flat", "two_inputs")


def build(
    way: str, head: str, config: keras_resnext.ResNeXtConfig
) -> keras.Model:
    """Build a model of a way and a head, with weights as after training."""
    return build_with_head(way, head, config)[0]


def build_with_head(
    way: str, head: str, config: keras_resnext.ResNeXtConfig
) -> tuple[keras.Model, list]:
    """Build a model as `build` does, and return the layers of its head too."""
    layers = HEADS[head]()
    model = WAYS[way](config, layers)
    random = np.random.default_rng(0)
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            shape = layer.moving_mean.shape
            layer.gamma.assign(random.uniform(0.5, 1.5, shape))
            layer.beta.assign(random.normal(0, 0.1, shape))
            layer.moving_mean.assign(random.normal(0, 0.1, shape))
            layer.moving_variance.assign(random.uniform(0.5, 1.5, shape))
    if head == "lora":
        adapted = [layers[-1]] + [
            layer
            for layer in model._flatten_layers()
            if layer.name == "stage2_block1_conv2"
        ]
        for layer in adapted:
            layer.enable_lora(2)
            shape = layer.lora_kernel_b.shape
            layer.lora_kernel_b.assign(random.normal(0, 0.1, shape))
    if head == "int8":
        layers[-1].quantize("int8")
    return model, layers


def kernel_of(layer: keras.layers.Layer) -> np.ndarray:
    """Return the kernel that a Dense layer multiplies by, in float64."""
    kernel = numpy(layer.kernel).astype("float64")
    if layer.quantization_mode == "int8":
        kernel /= numpy(layer.kernel_scale)
    return kernel


def logits_of(head: list, features: Any) -> np.ndarray:
    """Return the scores before the softmax, by NumPy."""
    for layer in head:
        if isinstance(layer, keras.layers.Dense):
            features = features @ kernel_of(layer)
            if layer.use_bias:
                features = features + numpy(layer.bias)
            if layer.activation is keras.activations.relu:
                features = np.maximum(features, 0)
    return features


def numpy_features(
    way: str, head: list, model: keras.Model, inputs: Any
) -> np.ndarray:
    """Return the inputs of the last Dense layer, by NumPy from its maps."""
    maps = own_maps(model, "stage2_block1_out")(pixels_of(way, inputs))
    features = numpy(maps).mean((1, 2))
    if way == "two_inputs":
        features = np.concatenate([features, inputs["age"]], -1)
    dense = [x for x in head if isinstance(x, keras.layers.Dense)]
    return logits_of(dense[:-1], features)


def pixels_of(way: str, inputs: Any) -> np.ndarray:
    """Return what reaches the first convolution in inference."""
    image = inputs["image"] if way == "two_inputs" else inputs
    if way in ("doubly_nested", "augmented"):
        return image / 127.5 - 1
    if way == "normalized":
        return (image - PIXELS.mean((0, 1, 2))) / PIXELS.std((0, 1, 2))
    return image * 0.02 if way == "augmented_flat" else image


def own_maps(model: keras.Model, name: str) -> keras.Model:
    """Build a model from the first convolution's pixels to a layer's maps."""
    (base,) = [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, keras.Model)
        and "stem_conv1" in [part.name for part in layer.layers]
    ]
    first = base.get_layer("stem_conv1").input
    return keras.Model(first, base.get_layer(name).output)


def inputs_of(model: keras.Model, count: int = 3) -> Any:
    """Random inputs in the structure and the dtype that a model takes."""
    random = np.random.default_rng(1)

    def drawn(shape: tuple) -> np.ndarray:
        x = random.normal(size=(count, *shape[1:]))
        return (100 * x if len(shape) == 4 else x).astype("float32")

    if isinstance(model, Subclassed):
        return drawn((None, SIZE, SIZE, 3))
    if isinstance(model, keras.Sequential):
        return drawn(model.input_shape)
    return keras.tree.map_structure(lambda x: drawn(x.shape), model.input)


def numpy(x: Any) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(ops.cast(x, "float32")))


def predict(model: keras.Model, inputs: Any) -> Any:
    """Return a model's outputs in inference, as float32 arrays."""
    with warnings.catch_warnings():
        # Keras' own, of the order of a dictionary's keys.
        warnings.simplefilter("ignore", UserWarning)
        outputs = model(inputs, training=False)
    return keras.tree.map_structure(numpy, outputs)
