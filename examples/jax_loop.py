"""Train a ResNeXt in a plain JAX loop, with optax.

    pip install optax
    KERAS_BACKEND=jax python examples/jax_loop.py

On the JAX backend `model.stateless_call` is a pure function of the trainable
variables, the other variables (moving statistics) and the images, which
`jax.value_and_grad` and `jax.jit` take.

The images are scikit-learn's digits; replace `load` with your own dataset.
"""

import os

os.environ["KERAS_BACKEND"] = "jax"

import jax
import keras
import numpy as np
import optax
import sklearn.datasets

import keras_resnext

Arrays = list[jax.Array]
EPOCHS, BATCH, LEARNING_RATE = 3, 64, 1e-3


def load() -> tuple[np.ndarray, np.ndarray]:
    """Return images, float32 of shape `(count, 32, 32, 3)`, and classes."""
    digits = sklearn.datasets.load_digits()
    pixels = np.repeat(np.repeat(digits.images / 8 - 1, 4, 1), 4, 2)
    images = np.repeat(pixels[..., None], 3, -1).astype("float32")
    return images, digits.target


def main() -> None:
    """Train, and measure on a fifth of the images."""
    keras.utils.set_random_seed(0)
    model = keras_resnext.ResNeXt23s_4x32d(
        weights=None,
        classes=10,
        classifier_activation=None,
        input_shape=(32, 32, 3),
    )
    weights = [v.value for v in model.trainable_variables]
    state = [v.value for v in model.non_trainable_variables]
    optimizer = optax.adamw(LEARNING_RATE)
    moments = optimizer.init(weights)

    def loss_of(
        weights: Arrays, state: Arrays, images: jax.Array, classes: jax.Array
    ) -> tuple[jax.Array, Arrays]:
        logits, state = model.stateless_call(
            weights, state, images, training=True
        )
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, classes)
        return loss.mean(), state

    @jax.jit
    def step(
        weights: Arrays,
        state: Arrays,
        moments: optax.OptState,
        images: jax.Array,
        classes: jax.Array,
    ) -> tuple[Arrays, Arrays, optax.OptState, jax.Array]:
        gradient_of = jax.value_and_grad(loss_of, has_aux=True)
        (loss, state), gradients = gradient_of(weights, state, images, classes)
        updates, moments = optimizer.update(gradients, moments, weights)
        return optax.apply_updates(weights, updates), state, moments, loss

    @jax.jit
    def predict(weights: Arrays, state: Arrays, images: jax.Array) -> jax.Array:
        logits, _ = model.stateless_call(weights, state, images, training=False)
        return logits.argmax(-1)

    images, classes = load()
    order = np.random.default_rng(0).permutation(len(images))
    test, train = order[::5], np.delete(order, np.s_[::5])
    for epoch in range(EPOCHS):
        shuffled = np.random.default_rng(epoch).permutation(train)
        losses = []
        for start in range(0, len(train) - BATCH + 1, BATCH):
            batch = shuffled[start : start + BATCH]
            weights, state, moments, loss = step(
                weights, state, moments, images[batch], classes[batch]
            )
            losses.append(loss)
        right = predict(weights, state, images[test]) == classes[test]
        loss = np.mean(losses)
        print(
            f"epoch {epoch + 1}/{EPOCHS}: loss {loss:.4f}, accuracy "
            f"{right.mean():.2%}"
        )

    # Back into the model, which saves, predicts and exports as usual.
    for variable, value in zip(model.trainable_variables, weights, strict=True):
        variable.assign(value)
    for variable, value in zip(
        model.non_trainable_variables, state, strict=True
    ):
        variable.assign(value)
    model.save("jax_loop.keras")


if __name__ == "__main__":
    main()
