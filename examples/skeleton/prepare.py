"""From a command line to a network that is ready to be trained."""

import argparse
import functools
from collections.abc import Callable
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import replace
from typing import Any
from typing import ClassVar

import keras
import numpy as np
import tensorflow as tf

import keras_resnext
from keras_resnext.training import optimizers
from keras_resnext.training import strategy as strategies
from keras_resnext.training.recipes import Recipe
from keras_resnext.training.strategy import Strategy
from pipeline import batches
from pipeline import load
from pipeline.sources import Plan
from pipeline.sources import Source
from skeleton import arguments
from skeleton import synthetic

# Makes a network that ends in the activation given.
Make = Callable[[str | None], keras.Model]
# What `fit` recorded.
History = dict[str, list[float]]


@dataclass
class Run:
    """What training goes through, epoch by epoch.

    Others than of classes say in a class of their own what is measured.
    """

    # Of the history, what the curves show and the best epoch has most of,
    # and how it is called.
    measure: ClassVar[tuple[str, str]] = ("accuracy", "Accuracy")
    # What the optimizer is told besides what the recipe says.
    optimizer_options: ClassVar[dict[str, Any]] = {}

    args: argparse.Namespace
    recipe: Recipe
    source: Source
    strategy: Strategy
    make: Make
    model: keras.Model
    batch_size: int
    steps: int

    @staticmethod
    def compile(
        model: keras.Model,
        recipe: Recipe,
        optimizer: keras.optimizers.Optimizer,
    ) -> None:
        """Tells a network what it is to learn, and how."""
        model.compile(
            optimizer,
            recipe.make_loss(),
            weighted_metrics=[
                keras.metrics.CategoricalAccuracy(name="accuracy"),
                keras.metrics.CategoricalCrossentropy(
                    from_logits=True, name="cross_entropy"
                ),
            ],
        )

    @functools.cached_property
    def deployed(self) -> keras.Model:
        """The network as it is used: for probabilities, in full precision."""
        policy = keras.config.dtype_policy()
        keras.config.set_dtype_policy("float32")
        network = self.make("softmax")
        keras.config.set_dtype_policy(policy)
        return network

    def plan(self, epoch: int, first_step: int) -> Plan:
        return Plan(
            self.args.seed,
            epoch,
            self.batch_size,
            self.recipe.repeats,
            first_step,
            self.strategy.worker,
            self.strategy.num_workers,
        )

    def training(self, epoch: int, first_step: int) -> Any:
        """The batches of an epoch, or of what is left of it."""
        dataset = batches.training(
            self.source.splits["train"],
            self.recipe,
            self.plan(epoch, first_step),
            len(self.source.labels),
            self.model.input_shape[-1],
        )
        return self.strategy.distribute(dataset.take(self.steps - first_step))

    def evaluate(self, shown: keras.callbacks.Callback) -> dict[str, float]:
        """Loss and accuracy on the pictures that were held out."""
        dataset = batches.evaluation(
            self.source.held_out,
            self.recipe,
            self.batch_size,
            len(self.source.labels),
            self.model.input_shape[-1],
            self.strategy.worker,
            self.strategy.num_workers,
        )
        if self.args.dry_run:
            dataset = dataset.take(2)
        return self.model.evaluate(
            self.strategy.distribute(dataset),
            verbose=0,
            return_dict=True,
            callbacks=[shown],
        )

    def row(self, logs: History, measured: dict[str, float]) -> dict[str, Any]:
        """What the history says of an epoch, besides its loss."""
        return {
            "accuracy": logs["accuracy"][-1],
            "val_loss": measured["cross_entropy"],
            "val_accuracy": measured["accuracy"],
        }

    def line(self, row: dict[str, Any]) -> str:
        """The same in words."""
        return (
            f"accuracy {row['accuracy']:.2%}, held out "
            f"{row['val_accuracy']:.2%} (loss {row['val_loss']:.4f})"
        )

    def verdict(self, row: dict[str, Any]) -> str:
        """What came of it all, by the last epoch's row."""
        return f"{row['val_accuracy']:.2%} of the pictures held out right."

    def identity(self) -> dict[str, Any]:
        """What a run is known by, besides its recipe."""
        return {
            "model": self.args.model,
            "dataset": self.source.name,
            "labels": list(self.source.labels),
            "images": self.source.images
            or {name: part.count for name, part in self.source.splits.items()},
            "batch_size": self.batch_size,
            "steps": self.steps,
            "precision": self.args.precision,
            "seed": self.args.seed,
        }


def start(args: argparse.Namespace) -> Strategy:
    """What comes before the first tensor."""
    if keras.backend.backend() != "tensorflow":
        # TensorFlow only reads pictures and must leave the GPU's memory alone.
        tf.config.set_visible_devices([], "GPU")
    if args.deterministic:
        tf.config.experimental.enable_op_determinism()
        if keras.backend.backend() == "torch":
            import torch

            torch.use_deterministic_algorithms(True)
    strategy = strategies.start(args.strategy)
    keras.utils.set_random_seed(args.seed)
    keras.config.set_dtype_policy(arguments.POLICIES[args.precision])
    return strategy


def source(
    args: argparse.Namespace, recipe: Recipe, validate: bool = False
) -> Source:
    """The data set, or noise for a dry run."""
    if args.dry_run:
        batch_size = args.batch_size or recipe.batch_size
        return synthetic.source(recipe, batch_size, args.output)
    return load.load(args.dataset, args.data_dir, args.corrupt, validate)


def run(
    args: argparse.Namespace,
    recipe: Recipe,
    source: Source,
    strategy: Strategy,
    make: Make,
    kind: type[Run] = Run,
) -> Run:
    """Makes the network and all that training it needs."""
    batch_size = args.batch_size or recipe.batch_size
    check(source, recipe, batch_size, strategy)
    pictures = source.splits["train"].count
    steps = min(args.steps or pictures, pictures // batch_size)
    with strategy.scope():
        model = make(None)
        if args.synchronize:
            strategies.synchronize_batch_norm(model)
        optimizer = recipe.make_optimizer(
            steps, batch_size, **kind.optimizer_options
        )
        if args.precision == "float16":
            optimizer = optimizers.LossScaleOptimizer(optimizer)
        kind.compile(model, recipe, optimizer)
        optimizer.build(model.trainable_variables)
    return kind(args, recipe, source, strategy, make, model, batch_size, steps)


def build(
    name: str,
    recipe: Recipe,
    labels: Sequence[str],
    activation: str | None = None,
) -> keras.Model:
    """The network: by default one that puts logits out, to be trained."""
    model = keras_resnext.ResNeXt(
        configure(keras_resnext.VARIANTS[name], recipe),
        weights=None,
        input_shape=(None, None, 3),
        classes=len(labels),
        classifier_activation=activation,
        name=name,
    )
    describe(model, recipe, labels)
    return model


def describe(model: keras.Model, recipe: Recipe, labels: Sequence[str]) -> None:
    """Let a model know its evaluation transform and the names of classes."""
    keras_resnext.set_data_config(
        model,
        mean=recipe.mean,
        std=recipe.std,
        interpolation=recipe.interpolation,
        size=recipe.evaluation_size,
        crop_pct=recipe.evaluation_size / recipe.evaluation_resize,
        labels=labels,
    )


def configure(
    config: keras_resnext.ResNeXtConfig, recipe: Recipe
) -> keras_resnext.ResNeXtConfig:
    """Take the fields over that a recipe sets in a model."""
    return replace(
        config,
        stochastic_depth=recipe.stochastic_depth,
        dropout=recipe.dropout,
        zero_init_last=recipe.zero_init_last,
    )


def check(
    source: Source, recipe: Recipe, batch_size: int, strategy: Strategy
) -> None:
    """Refuses what would fail later, or mean something else."""
    pictures = source.splits["train"]
    if batch_size > pictures.count:
        raise ValueError(
            f"'{source.name}' has {pictures.count:,} training pictures, fewer "
            f"than the {batch_size:,} of a step. Take less: --batch-size."
        )
    if batch_size % strategy.num_replicas:
        raise ValueError(
            f"{batch_size:,} pictures a step can't be shared by "
            f"{strategy.num_replicas} devices. Take another --batch-size."
        )
    if recipe.crop == "padded":
        size = (recipe.train_size, recipe.train_size)
        found = getattr(pictures, "contents", np.empty(0)).shape[1:3]
        if found != size:
            have = "x".join(map(str, found)) if found else "various sizes"
            raise ValueError(
                f"The recipe '{recipe.name}' is for pictures of "
                f"{size[0]}x{size[1]}, and those of '{source.name}' have "
                f"{have}. Take another recipe, or --set crop=random_resized."
            )
