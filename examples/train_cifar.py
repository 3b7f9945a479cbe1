r"""Train the paper's ResNeXt-29, 8x64d, on CIFAR-10.

    python examples/train_cifar.py
    python examples/train_cifar.py --model resnext23s_4x32d \
        --recipe cifar_short --dataset path/to/folder

TensorFlow Datasets downloads CIFAR-10. On TensorFlow the batch is shared by
all GPUs of this machine (tf.distribute.MirroredStrategy). 300 epochs take a
day or more on a GPU; on a CPU, use `cifar_short` and the small model.
`keras-resnext train` does the same, and also resumes runs and plots curves.
"""

import argparse
import pathlib

import keras

import keras_resnext
from keras_resnext import data
from keras_resnext.training import recipes
from keras_resnext.training import strategy


def main() -> None:
    """Train, and test at the end."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--dataset", default="cifar10")
    parser.add_argument("--model", default="resnext29_8x64d")
    parser.add_argument("--recipe", default="cifar_paper")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--output", type=pathlib.Path, default="runs/cifar")
    args = parser.parse_args()

    keras.utils.set_random_seed(0)
    recipe = recipes.get(args.recipe)
    if args.epochs:
        recipe = recipe.lasting(args.epochs)
    # A tenth of the training images, not the test set, chooses the best epoch.
    dataset = data.load_dataset(args.dataset, validation=True)
    train = data.train_batches(dataset, recipe, args.batch_size)
    validation, test = (
        data.evaluation_batches(dataset, recipe, split, args.batch_size)
        for split in ("validation", "test")
    )
    on_tensorflow = keras.backend.backend() == "tensorflow"
    with strategy.start("mirrored" if on_tensorflow else "none").scope():
        model = keras_resnext.get_model(
            args.model,
            weights=None,
            classes=len(dataset.labels),
            classifier_activation=None,
            input_shape=(recipe.train_size, recipe.train_size, 3),
            dropout=recipe.dropout,
            stochastic_depth=recipe.stochastic_depth,
            zero_init_last=recipe.zero_init_last,
        )
        model.compile(
            recipe.make_optimizer(len(train), args.batch_size),
            recipe.make_loss(),
            weighted_metrics=["accuracy"],
        )
    args.output.mkdir(parents=True, exist_ok=True)
    best = keras.callbacks.ModelCheckpoint(
        args.output / "best.keras", "val_accuracy", save_best_only=True
    )
    model.fit(
        train,
        epochs=recipe.epochs,
        shuffle=False,  # the batches are already shuffled
        validation_data=validation,
        callbacks=[
            *recipe.make_callbacks(len(train)),
            best,
            keras.callbacks.CSVLogger(args.output / "history.csv"),
        ],
        verbose=2,
    )
    model = keras.saving.load_model(args.output / "best.keras")
    loss, accuracy = model.evaluate(test, verbose=0)
    print(f"test accuracy of the best epoch {accuracy:.2%}, loss {loss:.4f}")


if __name__ == "__main__":
    main()
