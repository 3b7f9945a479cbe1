"""Train a ResNeXt-50 on ImageNet by any published recipe.

    python examples/train_imagenet.py
    python examples/train_imagenet.py --recipe a2 --dataset path/to/folder

ImageNet must be downloaded by hand: TensorFlow Datasets names the files and
the folder. A folder with train/class/*.jpg and validation/class/*.jpg also
works. On TensorFlow the batch is shared by all GPUs of this machine. An
interrupted run resumes from its last epoch when it is started again.
`keras-resnext train` resumes exactly, within an epoch, and trains on several
machines.
"""

import argparse
import pathlib

import keras

import keras_resnext
from keras_resnext import data
from keras_resnext.training import recipes
from keras_resnext.training import strategy


def main() -> None:
    """Train, and validate after each epoch."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--dataset", default="imagenet2012")
    parser.add_argument("--model", default="resnext50_32x4d")
    parser.add_argument("--recipe", default="paper")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--size", type=int, help="size of training images")
    parser.add_argument("--precision", default="mixed_bfloat16")
    parser.add_argument("--output", type=pathlib.Path, default="runs/imagenet")
    args = parser.parse_args()

    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(args.precision)
    recipe = recipes.get(args.recipe)
    if args.epochs:
        recipe = recipe.lasting(args.epochs)
    if args.size:
        recipe = recipe.override(
            train_size=args.size,
            evaluation_size=args.size,
            evaluation_resize=round(args.size / 0.875),
        )
    dataset = data.load_dataset(args.dataset)
    train = data.train_batches(dataset, recipe, args.batch_size)
    validation = data.evaluation_batches(
        dataset, recipe, "validation", args.batch_size
    )
    on_tensorflow = keras.backend.backend() == "tensorflow"
    with strategy.start("mirrored" if on_tensorflow else "none").scope():
        model = keras_resnext.get_model(
            args.model,
            weights=None,
            classes=len(dataset.labels),
            classifier_activation=None,
            dropout=recipe.dropout,
            stochastic_depth=recipe.stochastic_depth,
            zero_init_last=recipe.zero_init_last,
        )
        keras_resnext.set_data_config(
            model,
            mean=recipe.mean,
            std=recipe.std,
            interpolation=recipe.interpolation,
            size=recipe.evaluation_size,
            crop_pct=recipe.evaluation_size / recipe.evaluation_resize,
            labels=dataset.labels,
        )
        model.compile(
            recipe.make_optimizer(len(train), args.batch_size),
            recipe.make_loss(),
            weighted_metrics=[
                "accuracy",
                keras.metrics.TopKCategoricalAccuracy(
                    min(5, len(dataset.labels)), name="top_5_accuracy"
                ),
            ],
        )
    args.output.mkdir(parents=True, exist_ok=True)
    model.fit(
        train,
        epochs=recipe.epochs,
        shuffle=False,  # the batches are already shuffled
        validation_data=validation,
        callbacks=[
            keras.callbacks.BackupAndRestore(args.output / "backup"),
            *recipe.make_callbacks(len(train)),
            keras.callbacks.CSVLogger(args.output / "history.csv", append=True),
            keras.callbacks.TensorBoard(args.output / "tensorboard"),
        ],
        verbose=2,
    )
    model.save(args.output / "model.keras")


if __name__ == "__main__":
    main()
