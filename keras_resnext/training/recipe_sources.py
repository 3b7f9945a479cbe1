"""Where each field of each recipe is from, and whether it was read there.

docs/recipes.md is the same as a table.
"""

import dataclasses
from typing import NamedTuple

from keras_resnext.training.recipe import Recipe


class Source(NamedTuple):
    """Source of a recipe's field.

    Args:
        text: File and option, command, or table, of a repository named in
            `REPOSITORIES`.
        read: Whether the value was read there; false if it was inferred, or
            taken from somewhere that could not be opened.
    """

    text: str
    read: bool


Fields = dict[str, Source]

# Abbreviations, and the commit or pages that were read.
REPOSITORIES = {
    "FB": "github.com/facebookresearch/ResNeXt at 1f59a2c",
    "TV": "github.com/pytorch/vision, references/classification, at 017e9b9",
    "TV 3995": "github.com/pytorch/vision/issues/3995: a command of the new "
    "recipe without FixRes, quoted by its user on 2022-01-07",
    "TV 5935": "github.com/pytorch/vision/pull/5935, of 2022-05-03",
    "TV models": "torchvision/models/resnet.py of torchvision 0.29.1",
    "timm": "github.com/huggingface/pytorch-image-models at aa4b585",
    "timm 2021": "the same at b1c2e3e, of 2021-09, when A1 to A3 appeared",
    "MM": "github.com/open-mmlab/mmpretrain at ee7f2e8",
    "ML-Decoder": "github.com/Alibaba-MIIL/ML_Decoder, README.md: a command of "
    "A2 by other authors",
    "RetinaNet": "arXiv 1708.02002, section 5, from memory",
    "own": "our own choice",
}


def _read(text: str, *names: str) -> Fields:
    return dict.fromkeys(names, Source(text, read=True))


def _inferred(text: str, *names: str) -> Fields:
    return dict.fromkeys(names, Source(text, read=False))


def _fields() -> list[str]:
    """The fields that have a source."""
    names = [field.name for field in dataclasses.fields(Recipe)]
    return [name for name in names if name not in ("name", "sources")]


# What only the newer recipes have.
_MIXES = ("policy", "erasing", "repeats", "mixup", "cutmix", "label_smoothing")
_LATE = (*_MIXES, "stochastic_depth", "dropout", "ema_decay")
_COLORS = ("color_jitter", "lighting")
_RISE = ("warmup_rate", "warmup_by_step", "cosine_after_warmup")
_DECAYS = ("decay_norm", "decay_bias")
_INTERPOLATIONS = ("interpolation", "train_interpolation")
_SIZES = ("train_size", "evaluation_size", "evaluation_resize")
_CROPS = ("crop", "crop_scale", "flip")

_PAPER = {
    **_read("FB train.lua: optim.sgd", "optimizer", "nesterov"),
    **_read("FB train.lua: one flat vector of all parameters", *_DECAYS),
    **_read("FB opts.lua: -LR", "learning_rate"),
    **_read("FB opts.lua: -momentum", "momentum"),
    **_read("FB opts.lua: -weightDecay", "weight_decay"),
    **_read("FB opts.lua: nEpochs of imagenet", "epochs"),
    **_read("FB README.md: -batchSize of the command", "batch_size"),
    **_read("FB train.lua: learningRate", "schedule", "drops"),
    **_read("FB train.lua: none", "warmup_epochs"),
    **_read("FB datasets/imagenet.lua: preprocess", *_SIZES, *_COLORS),
    **_read("FB datasets/imagenet.lua: meanstd", "mean", "std"),
    **_read("FB datasets/transforms.lua: Scale", *_INTERPOLATIONS),
    **_read(
        "FB datasets/transforms.lua: RandomSizedCrop, whose ratio is uniform; "
        "log-uniform here, as torchvision's",
        *("crop", "crop_scale"),
    ),
    **_read("FB datasets/imagenet.lua: HorizontalFlip", "flip"),
    **_read("FB datasets/imagenet.lua, train.lua: none", *_LATE),
    **_read("FB models/init.lua: CrossEntropyCriterion", "loss"),
    **_read("FB models/resnext.lua: BNInit fills with 1", "zero_init_last"),
}
_CIFAR_PAPER = {
    **_PAPER,
    **_read("FB README.md: the command for CIFAR", "batch_size"),
    **_read("FB README.md: -weightDecay of the command", "weight_decay"),
    **_read("FB opts.lua: nEpochs of cifar10", "epochs"),
    **_read("FB train.lua: after 49 % and 74 % of the epochs", "drops"),
    **_read("FB datasets/cifar10.lua: preprocess", *_SIZES, *_COLORS, "flip"),
    **_read("FB datasets/cifar10.lua: RandomCrop(32, 4)", "crop"),
    **_read("FB datasets/cifar10.lua: meanstd", "mean", "std"),
    **_read("FB datasets/cifar10.lua: nothing is resized", "interpolation"),
    **_read("FB datasets/cifar10.lua, train.lua: none", *_LATE),
}
_CIFAR_SHORT = {
    **_CIFAR_PAPER,
    **_read(
        "own",
        *("epochs", "schedule", "warmup_epochs", "minimum_rate", *_RISE),
        *(*_DECAYS, "label_smoothing"),
    ),
}
_TORCHVISION_V1 = {
    **_read(
        "TV README.md, ResNext: 64 GPUs, --batch_size 16, --lr 0.4",
        *("learning_rate", "batch_size"),
    ),
    **_read("TV README.md, ResNext: --epochs 100", "epochs"),
    **_read("TV train.py: default of --opt", "optimizer", "nesterov"),
    **_read("TV train.py: default of --momentum", "momentum"),
    **_read("TV train.py: default of --wd", "weight_decay"),
    **_read("TV train.py: default of --norm-weight-decay", *_DECAYS),
    **_read("TV train.py: default of --lr-scheduler", "schedule"),
    **_read("TV train.py: default of --lr-step-size", "drops"),
    **_read("TV train.py: default of --lr-warmup-epochs", "warmup_epochs"),
    **_read("TV train.py: default of --train-crop-size", "train_size"),
    **_read("TV train.py: default of --val-crop-size", "evaluation_size"),
    **_read("TV train.py: default of --val-resize-size", "evaluation_resize"),
    **_read("TV train.py: default of --interpolation", *_INTERPOLATIONS),
    **_read("TV presets.py", "mean", "std", *_CROPS, *_COLORS),
    **_read("TV train.py: default of --auto-augment", "policy"),
    **_read("TV train.py: default of --random-erase", "erasing"),
    **_read("TV train.py: none by default", "repeats", "ema_decay"),
    **_read("TV train.py: default of --mixup-alpha", "mixup"),
    **_read("TV train.py: default of --cutmix-alpha", "cutmix"),
    **_read("TV train.py: criterion", "loss"),
    **_read("TV train.py: default of --label-smoothing", "label_smoothing"),
    **_read("TV train.py: none", "stochastic_depth", "dropout"),
    **_read(
        "TV models: default of ResNet's zero_init_residual", "zero_init_last"
    ),
}
_TORCHVISION_V2 = {
    **_TORCHVISION_V1,
    **_read("TV 3995: --lr 0.5", "learning_rate"),
    **_inferred(
        "TV 5935: 8 GPUs, --batch-size 128, the same rate; for these weights "
        "the number of GPUs was asked for and not found",
        "batch_size",
    ),
    **_read("TV 3995: --epochs 600", "epochs"),
    **_read("TV 3995: --weight-decay 0.00002", "weight_decay"),
    **_read("TV 3995: --norm-weight-decay 0.0; biases decay", *_DECAYS),
    **_read("TV 3995: --lr-scheduler cosineannealinglr", "schedule"),
    **_read("TV train.py: CosineAnnealingLR's eta_min", "minimum_rate"),
    **_read("TV train.py: SequentialLR", "cosine_after_warmup"),
    **_read("TV 3995: --lr-warmup-epochs 5", "warmup_epochs"),
    **_read("TV train.py: default of --lr-warmup-decay", "warmup_rate"),
    **_read("TV train.py: lr_scheduler.step() per epoch", "warmup_by_step"),
    **_read("TV 3995: without --train-crop-size", "train_size"),
    **_read("TV 3995: --val-resize-size 232", "evaluation_resize"),
    **_read("TV 3995: --auto-augment ta_wide", "policy"),
    **_read("TV 3995: --random-erase 0.1", "erasing"),
    **_read("TV presets.py: RandomErasing", "erasing_count", "erasing_fill"),
    **_read(
        "TV 3995: none; pull request 5051, of 2021-12-07, is younger than the "
        "weights, of pull request 4900, 2021-11-10",
        "repeats",
    ),
    **_read("TV 3995: --mixup-alpha 0.2", "mixup"),
    **_read("TV 3995: --cutmix-alpha 1.0", "cutmix"),
    **_read("TV 3995: --label-smoothing 0.1", "label_smoothing"),
    **_read("TV train.py: default of --model-ema-decay", "ema_decay"),
    **_read("TV train.py: default of --model-ema-steps", "ema_steps"),
}
_TORCHVISION_V2_FIXRES = {
    **_TORCHVISION_V2,
    **_inferred(
        "TV 5935: --train-crop-size 176; TV models: ResNeXt101_32X8D's V2 "
        "names the recipe with FixRes, whose command was not at hand",
        "train_size",
    ),
}
_TORCHVISION_V2_REPEATED = {
    name: Source(source.text.replace("TV 3995", "TV 5935"), source.read)
    for name, source in _TORCHVISION_V2.items()
} | {
    **_read("TV 5935: 8 GPUs, --batch-size=128", "batch_size"),
    **_read("TV 5935: --train-crop-size=176", "train_size"),
    **_read("TV 5935: --ra-sampler --ra-reps=4", "repeats"),
}
_COMMAND = "timm hfdocs/source/training_script.mdx, ResNeXt-50 32x4d"
_TIMM = {
    **_read("timm train.py: default of --warmup-epochs", "warmup_epochs"),
    **_read(
        "timm train.py: by epoch without --sched-on-updates", "warmup_by_step"
    ),
    **_read(
        "timm scheduler/cosine_lr.py: without --warmup-prefix",
        "cosine_after_warmup",
    ),
    **_read("timm optim: weight_decay_exclude_1d", *_DECAYS),
    **_read(
        "timm train.py: default of --train-interpolation; what moves pixels "
        "in RandAugment is always bilinear here",
        "train_interpolation",
    ),
    **_read("timm models/resnet.py: default_cfgs", "interpolation"),
    **_read(
        "timm models/resnet.py: default_cfgs' crop_pct; "
        "data/transforms_factory.py: floor",
        "evaluation_resize",
    ),
    **_read("timm models/resnet.py: default_cfgs", "evaluation_size"),
    **_read("timm data/constants.py", "mean", "std"),
    **_read("timm data/transforms_factory.py", *_CROPS),
    **_read("timm data/transforms_factory.py: none with RandAugment", *_COLORS),
    **_read("timm models/resnet.py: zero_init_last", "zero_init_last"),
    **_read("timm train.py: defaults", "dropout", "ema_decay"),
}
_TIMM_RA = {
    **_TIMM,
    **_read("timm optim: sgd is nesterov", "optimizer", "nesterov"),
    **_read("timm train.py: default of --momentum", "momentum"),
    **_read(f"{_COMMAND}: --lr 0.6", "learning_rate"),
    **_read(f"{_COMMAND}: 8 GPUs, -b 192", "batch_size"),
    **_read(f"{_COMMAND}: --epochs 240", "epochs"),
    **_read(f"{_COMMAND}: --sched cosine", "schedule"),
    **_read(f"{_COMMAND}: --weight-decay 1e-4", "weight_decay"),
    **_read(f"{_COMMAND}: --warmup-epochs 5", "warmup_epochs"),
    **_read(
        "timm train.py: default of --warmup-lr, 1e-5, which was 1e-4 until "
        "2022-10",
        "warmup_rate",
    ),
    **_read(
        "timm train.py: default of --min-lr, 0, which was 1e-5 in 2020",
        "minimum_rate",
    ),
    **_read("timm models/resnet.py: default_cfgs", "train_size"),
    **_read(
        f"{_COMMAND}: --aa rand-m7-mstd0.5-inc1", "policy", "policy_magnitude"
    ),
    **_read(f"{_COMMAND}: --reprob 0.4", "erasing"),
    **_read(f"{_COMMAND}: --recount 3: one to three", "erasing_count"),
    **_read(f"{_COMMAND}: --remode pixel", "erasing_fill"),
    **_read("timm train.py: defaults", "repeats", "mixup", "cutmix", "loss"),
    **_read("timm train.py: default of --smoothing", "label_smoothing"),
    **_read("timm train.py: default of --drop-path", "stochastic_depth"),
}
_RSB = "MM configs/resnet/resnet50_8xb256-rsb-"
_SCHEDULE = "MM configs/_base_/schedules/imagenet_bs2048_rsb.py"
_DATA = "MM configs/_base_/datasets/imagenet_bs256_rsb_a12.py"
_A1 = {
    **_TIMM,
    **_read(f"{_SCHEDULE}: Lamb", "optimizer"),
    **_read(f"{_SCHEDULE}: lr", "learning_rate"),
    **_read(f"{_SCHEDULE}: auto_scale_lr", "batch_size"),
    **_read(f"{_RSB}a1: max_epochs", "epochs"),
    **_read(f"{_SCHEDULE}: CosineAnnealingLR", "schedule"),
    **_read(f"{_RSB}a1: weight_decay", "weight_decay"),
    **_read(f"{_RSB}a1: bias_decay_mult, norm_decay_mult", *_DECAYS),
    **_read(f"{_RSB}a1: end of LinearLR", "warmup_epochs"),
    **_read(f"{_RSB}a1: start_factor; timm 2021 starts at 1e-4", "warmup_rate"),
    **_read(
        f"{_RSB}a1: convert_to_iter_based; timm 2021 rises by epoch",
        "warmup_by_step",
    ),
    **_read(
        f"{_RSB}a1: eta_min; timm 2021 train.py: default of --min-lr",
        "minimum_rate",
    ),
    **_read(
        "timm 2021 scheduler/cosine_lr.py; MM begins after the rise",
        "cosine_after_warmup",
    ),
    **_read(f"{_DATA}: RandomResizedCrop", "train_size"),
    **_read(f"{_DATA}: CenterCrop", "evaluation_size"),
    **_read(
        "timm models/resnet.py: crop_pct 0.95 of a1_in1k; "
        "data/transforms_factory.py: floor. MM has 236",
        "evaluation_resize",
    ),
    **_read(f"{_DATA}: ResizeEdge", "interpolation"),
    **_read(
        "timm 2021 train.py: default of --train-interpolation; MM has bicubic; "
        "what moves pixels in RandAugment is always bilinear here",
        "train_interpolation",
    ),
    **_read(f"{_DATA}: RandAugment", "policy", "policy_magnitude"),
    **_read(f"{_DATA}: none", "erasing"),
    **_read(f"{_RSB}a1: RepeatAugSampler, 3 by default", "repeats"),
    **_read(f"{_RSB}a1: Mixup", "mixup"),
    **_read(f"{_RSB}a1: CutMix", "cutmix"),
    **_read(f"{_RSB}a1: use_sigmoid", "loss"),
    **_read(f"{_RSB}a1: label_smooth_val", "label_smoothing"),
    **_inferred(
        "ML-Decoder: --bce-target-thresh 0.2, of A2; an option of timm since "
        "2021-09-23; MM has soft labels",
        "bce_target_thresh",
    ),
    **_read(f"{_RSB}a1: drop_path_rate", "stochastic_depth"),
}
_A2 = {
    name: Source(source.text.replace("rsb-a1", "rsb-a2"), source.read)
    for name, source in _A1.items()
} | {
    **_read(f"{_SCHEDULE}: weight_decay", "weight_decay"),
    **_read(f"{_RSB}a2: none", "label_smoothing"),
    **_read(
        "ML-Decoder: --bce-target-thresh 0.2; MM has soft labels",
        "bce_target_thresh",
    ),
}
_A3 = {
    name: Source(
        source.text.replace("rsb-a2", "rsb-a3").replace("rsb_a12", "rsb_a3"),
        source.read,
    )
    for name, source in _A2.items()
} | {
    **_read(f"{_RSB}a3: lr", "learning_rate"),
    **_read(f"{_SCHEDULE}: max_epochs", "epochs"),
    **_read(f"{_SCHEDULE}: start_factor", "warmup_rate"),
    **_read(f"{_SCHEDULE}: convert_to_iter_based", "warmup_by_step"),
    **_read(f"{_SCHEDULE}: eta_min", "minimum_rate"),
    **_read(
        "timm models/resnet.py: input size of a3_in1k; MM trains at 224",
        "train_size",
    ),
    **_read("timm models/resnet.py: test size of a3_in1k", "evaluation_size"),
    **_read(f"{_RSB}a3: none", "repeats", "stochastic_depth"),
    **_inferred(
        "ML-Decoder: --bce-target-thresh 0.2, of A2; MM has soft labels",
        "bce_target_thresh",
    ),
}

_FINETUNE = {name: Source("own", read=True) for name in _fields()}
_RETINANET = {
    **_FINETUNE,
    **_inferred(
        "RetinaNet",
        *("optimizer", "learning_rate", "momentum", "batch_size", "epochs"),
        *("schedule", "drops", "weight_decay", "flip"),
    ),
}
_RETINANET_SHORT = _FINETUNE

SOURCES: dict[str, Fields] = {
    "paper": _PAPER,
    "cifar_paper": _CIFAR_PAPER,
    "cifar_short": _CIFAR_SHORT,
    "torchvision_v1": _TORCHVISION_V1,
    "torchvision_v2": _TORCHVISION_V2,
    "torchvision_v2_fixres": _TORCHVISION_V2_FIXRES,
    "torchvision_v2_repeated": _TORCHVISION_V2_REPEATED,
    "timm_ra": _TIMM_RA,
    "a1": _A1,
    "a2": _A2,
    "a3": _A3,
    "finetune": _FINETUNE,
    "retinanet": _RETINANET,
    "retinanet_short": _RETINANET_SHORT,
}


def without_effect(recipe: Recipe) -> set[str]:
    """Return the fields whose value changes nothing in a recipe.

    Args:
        recipe: A recipe.
    """
    conditions = {
        ("momentum", "nesterov"): recipe.optimizer == "sgd",
        ("drops",): recipe.schedule == "step",
        ("warmup_epochs", "minimum_rate"): recipe.schedule == "cosine",
        _RISE: recipe.schedule == "cosine" and recipe.warmup_epochs > 0,
        ("crop_scale", "train_interpolation"): recipe.crop == "random_resized",
        ("policy_magnitude",): recipe.policy == "rand_augment",
        ("erasing_count", "erasing_fill"): recipe.erasing > 0,
        ("bce_target_thresh",): recipe.loss == "binary_crossentropy",
        ("ema_steps",): recipe.ema_decay > 0,
    }
    return {
        name
        for names, effective in conditions.items()
        for name in names
        if not effective
    }
