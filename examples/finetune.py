"""Fine-tune a small ResNeXt on scikit-learn's handwritten digits.

    python examples/finetune.py

The model was trained on CIFAR-10 and comes with the package; it learns the
digits in about two minutes on a laptop, without a network connection. First a
new classifier and the last stage are trained, then all layers, at a tenth of
the learning rate. `runs/digits` receives the model, as a Keras file and for
other runtimes.

Copy this file and replace `digits` with your own dataset, see
`data.load_dataset`. `keras-resnext finetune path/to/folder` does all of this
without code, and also resumes runs and plots results.
"""

import pathlib

import keras
import numpy as np
import sklearn.datasets
import sklearn.model_selection

import keras_resnext
from keras_resnext import data
from keras_resnext.training import recipes

OUTPUT = pathlib.Path("runs", "digits")
SIZE, BATCH = 32, 32
EPOCHS = {"stage3": 4, None: 8}  # the last frozen stage, then none


def digits() -> data.Dataset:
    """Return the digits as images, a fifth of them for the test."""
    source = sklearn.datasets.load_digits()
    # From 8x8 numbers in [0, 16] to RGB pixels in [0, 255].
    pixels = (source.images * (255 / 16)).round().astype("uint8")
    images = np.repeat(pixels[..., None], 3, axis=-1)
    train, test = sklearn.model_selection.train_test_split(
        np.arange(len(images)), test_size=0.2, random_state=0
    )
    return data.from_arrays(
        (images[train], source.target[train]),
        test=(images[test], source.target[test]),
        name="digits",
    )


def main() -> None:
    """Train, test and export."""
    keras.utils.set_random_seed(0)
    dataset = digits()
    model = keras_resnext.ResNeXt23s_4x32d(
        weights="cifar10", input_shape=(SIZE, SIZE, 3)
    )
    config = keras_resnext.get_data_config(model)
    recipe = recipes.get(
        "finetune",
        train_size=SIZE,
        evaluation_size=SIZE,
        evaluation_resize=SIZE,
        mean=config.mean,
        std=config.std,
        horizontal_flip=False,  # mirrored digits are wrong
        crop_scale=0.7,
    )
    model = keras_resnext.finetuning.reset_classifier(
        model, 10, None, recipe.dropout, dataset.labels
    )
    batches = data.train_batches(dataset, recipe, BATCH)
    test = data.evaluation_batches(dataset, recipe, "test", BATCH)
    for stage, epochs in EPOCHS.items():
        keras_resnext.finetuning.freeze(model, stage)
        rate = recipe.learning_rate / (1 if stage else 10)
        phase = recipe.override(epochs=epochs, learning_rate=rate)
        model.compile(
            phase.make_optimizer(len(batches), BATCH),
            phase.make_loss(),
            weighted_metrics=["accuracy"],
        )
        model.fit(batches, epochs=epochs, shuffle=False, verbose=2)
    _, accuracy = model.evaluate(test, verbose=0)
    print(f"{accuracy:.2%} of the test digits correct")

    OUTPUT.mkdir(parents=True, exist_ok=True)
    model.save(OUTPUT / "model.keras")
    transform = keras_resnext.evaluation_transform(model)
    pixels = [
        transform.pixels(keras.utils.array_to_img(image))
        for image, _ in dataset.splits["test"].encoded()
    ]
    print(
        keras_resnext.export(
            model,
            OUTPUT,
            ["saved_model", "tflite"],
            representative_data=np.stack(pixels),
        )
    )


if __name__ == "__main__":
    main()
