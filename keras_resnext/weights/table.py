"""The published checkpoints: where they are, what they may be used for.

One row of `WEIGHTS` is one checkpoint. Its name is `variant.tag`, the variant
timm's word and the tag that of whoever published it; those who have no tags
are named themselves.
"""

from keras_resnext.weights.records import Evaluation
from keras_resnext.weights.records import HubFile
from keras_resnext.weights.records import PackageFile
from keras_resnext.weights.records import WebFile
from keras_resnext.weights.records import Weights

# timm's releases stand under the repository's older name, too.
_GITHUB = "https://github.com/"
_TIMM = f"{_GITHUB}huggingface/pytorch-image-models/releases/download/"
_TIMM_OLD = f"{_GITHUB}rwightman/pytorch-image-models/releases/download/"
_GLUON = (
    f"{_GITHUB}rwightman/pytorch-pretrained-gluonresnet/releases/download/v0.1/"
)
_PYTORCH = "https://download.pytorch.org/models/"
_SEMI = "https://dl.fbaipublicfiles.com/semiweaksupervision/model_files/"
_MMPRETRAIN = "https://download.openmmlab.com/mmclassification/v0/resnext/"
_KERAS = (
    "https://storage.googleapis.com/tensorflow/keras-applications/resnet/",
    f"{_GITHUB}keras-team/keras-applications/releases/download/resnet/",
)

_QUBVEL = f"{_GITHUB}qubvel/classification_models/releases/download/0.0.1/"

_CIFAR10_MEAN = (125.3 / 255, 123.0 / 255, 113.9 / 255)
_CIFAR10_STD = (63.0 / 255, 62.1 / 255, 66.7 / 255)

_NUM_PARAMS = {
    "resnext50_32x4d": 25_028_904,
    "resnext50d_32x4d": 25_048_136,
    "resnext101_32x4d": 44_177_704,
    "resnext101_64x4d": 83_455_272,
    "resnext101_32x8d": 88_791_336,
    "resnext101_32x16d": 194_026_792,
    "resnext101_32x32d": 468_530_472,
    "resnext101_32x48d": 828_411_176,
    "resnext152_32x4d": 59_951_400,
    "seresnext26d_32x4d": 16_809_512,
    "seresnext26t_32x4d": 16_806_976,
    "seresnext50_32x4d": 27_559_896,
    "seresnext101_32x4d": 48_955_416,
    "seresnext101_32x8d": 93_569_048,
    "seresnext101_64x4d": 88_232_984,
    "seresnext101d_32x8d": 93_588_280,
    "seresnextaa101d_32x8d": 93_588_280,
    "seresnextaa201d_32x8d": 149_394_904,
    "legacy_seresnext26_32x4d": 16_790_280,
    "legacy_seresnext50_32x4d": 27_559_896,
    "legacy_seresnext101_32x4d": 48_955_416,
    "skresnext50_32x4d": 27_479_784,
    "cspresnext50": 20_569_896,
    "bat_resnext26ts": 10_731_200,
    "resnext26ts": 10_297_952,
    "seresnext26ts": 10_388_064,
    "eca_resnext26ts": 10_297_988,
    "gcresnext26ts": 10_476_600,
    "gcresnext50ts": 15_667_320,
}


def _num_params(variant: str, classes: int) -> int:
    # Every head that is not ImageNet's stands on 2,048 features.
    return _NUM_PARAMS[variant] + (classes - 1000) * (2048 + 1)


def _torch_file(url: str) -> WebFile:
    # torch.hub's convention: `name-<first hex digits of the sha256>.pth`.
    return WebFile(url, sha256_prefix=url.rpartition("-")[2].split(".")[0])


def _timm(
    variant: str,
    tag: str,
    license: str,
    url: str | None,
    *,
    evaluations: tuple[Evaluation, ...],
    interpolation: str,
    train_size: int = 224,
    layout: str = "timm_resnet",
    classes: int = 1000,
    revision: str = "main",
    sha256: str | None = None,
    on_hub: bool = True,
    note: str = "",
) -> Weights:
    hub = HubFile(f"timm/{variant}.{tag}", revision=revision, sha256=sha256)
    return Weights(
        variant,
        tag,
        sources=(
            *((hub,) if on_hub else ()),
            *((_torch_file(url),) if url is not None else ()),
        ),
        license=license,
        num_params=_num_params(variant, classes),
        train_size=train_size,
        evaluations=evaluations,
        interpolation=interpolation,
        layout=layout,
        classes=classes,
        note=note,
    )


def _torchvision(
    variant: str,
    tag: str,
    file: str,
    *,
    resize: int,
    top1: float,
    top5: float,
    train_size: int = 224,
) -> Weights:
    return Weights(
        variant,
        tag,
        sources=(_torch_file(f"{_PYTORCH}{file}"),),
        license="bsd-3-clause",
        num_params=_NUM_PARAMS[variant],
        train_size=train_size,
        evaluations=(Evaluation(224, 224 / resize, top1, top5),),
        interpolation="bilinear",
    )


def _facebook(
    variant: str, tag: str, url: str, top1: float, top5: float
) -> Weights:
    return _timm(
        variant,
        tag,
        "cc-by-nc-4.0",
        url,
        evaluations=(Evaluation(224, 0.875, top1, top5),),
        interpolation="bilinear",
    )


def _mmpretrain(variant: str, file: str, top1: float, top5: float) -> Weights:
    return Weights(
        variant,
        "mmpretrain_in1k",
        sources=(_torch_file(f"{_MMPRETRAIN}{file}"),),
        license="apache-2.0",
        num_params=_NUM_PARAMS[variant],
        train_size=224,
        evaluations=(Evaluation(224, 224 / 256, top1, top5),),
        interpolation="bilinear",
        layout="mmpretrain",
    )


def _keras(
    variant: str,
    name: str,
    *,
    md5: str,
    md5_notop: str,
    top1: float,
    top5: float,
) -> Weights:
    stem = f"{name}_weights_tf_dim_ordering_tf_kernels"
    return Weights(
        variant,
        "keras_in1k",
        sources=(
            *(WebFile(f"{base}{stem}.h5", md5=md5) for base in _KERAS),
            *(
                WebFile(f"{base}{stem}_notop.h5", md5=md5_notop, has_top=False)
                for base in _KERAS
            ),
        ),
        license="cc-by-nc-4.0",
        num_params=_NUM_PARAMS[variant],
        train_size=224,
        evaluations=(Evaluation(224, 0.875, top1, top5),),
        interpolation="bilinear",
        layout="keras_applications",
        note=(
            "Keras' page called these weights BSD; the authors of the Torch "
            "files they were converted from publish those under CC BY-NC 4.0. "
            "Treated here as non-commercial. Only the 224-pixel centre crop "
            "of the evaluation is documented, not its resize."
        ),
    )


def _qubvel(
    variant: str,
    name: str,
    license: str,
    *,
    md5: str,
    md5_notop: str,
    top1: float,
    top5: float,
    note: str,
) -> Weights:
    stem = f"{_QUBVEL}{name}_imagenet_1000"
    return Weights(
        variant,
        "qubvel_in1k",
        sources=(
            WebFile(f"{stem}.h5", md5=md5),
            WebFile(f"{stem}_no_top.h5", md5=md5_notop, has_top=False),
        ),
        license=license,
        num_params=_NUM_PARAMS[variant],
        train_size=224,
        evaluations=(Evaluation(224, 224 / 256, top1, top5),),
        interpolation="bilinear",
        layout="qubvel",
        note=note,
    )


_QUBVEL_RESNEXT = (
    "Converted from MXNet's model zoo, whose accuracy this is; qubvel's README "
    "lists that of Keras' own ResNeXt. Nobody states a licence for the "
    "weights. When loaded, the normalization of pixels that they hold is "
    "folded into the stem, exactly but for three pixels at the border, and "
    "the classes are taken from the challenge's order into the usual one."
)
_QUBVEL_SENET = (
    "The SENet authors' weights, under their licence, by way of Cadene's "
    "conversion to PyTorch. The accuracy is that of a stem that pools as here; "
    "the windows of the legacy_seresnext variants, and of the authors', begin "
    "one pixel further on."
)

# timm's "tv" rows are torchvision's files, measured by timm's own transform.
# Where the commit of a hub file is known only in short, which the hub does not
# resolve, the file is taken from "main" and the sha256 holds it.
WEIGHTS: tuple[Weights, ...] = (
    _facebook(
        "resnext50_32x4d",
        "fb_swsl_ig1b_ft_in1k",
        f"{_SEMI}semi_weakly_supervised_resnext50_32x4-72679e44.pth",
        82.162,
        96.224,
    ),
    _timm(
        "resnext50_32x4d",
        "a1h_in1k",
        "apache-2.0",
        f"{_TIMM_OLD}v0.1-rsb-weights/resnext50_32x4d_a1h-0146ab0a.pth",
        evaluations=(
            Evaluation(288, 1.0, 82.016, 95.934),
            Evaluation(224, 0.95, 81.140, 95.320),
        ),
        interpolation="bicubic",
        revision="8af8dd95e2a7538fad74714fc76507d9de9de33c",
        sha256="b952952a7b3e856b16ebf82fb44d2aa8c502e73ec678976c9e3b970fcd530bd5",
    ),
    _timm(
        "resnext50_32x4d",
        "a1_in1k",
        "apache-2.0",
        f"{_TIMM}v0.1-rsb-weights/resnext50_32x4d_a1_0-b5a91a1d.pth",
        evaluations=(
            Evaluation(288, 1.0, 81.480, 95.152),
            Evaluation(224, 0.95, 80.526, 94.458),
        ),
        interpolation="bicubic",
        revision="cf70ff7e66fdd0850944d954e53bf14131d70be1",
    ),
    _timm(
        "resnext50_32x4d",
        "a2_in1k",
        "apache-2.0",
        f"{_TIMM}v0.1-rsb-weights/resnext50_32x4d_a2_0-efc76add.pth",
        evaluations=(
            Evaluation(288, 1.0, 81.304, 95.114),
            Evaluation(224, 0.95, 80.444, 94.630),
        ),
        interpolation="bicubic",
        revision="dff7967a706ff76a62dc624c788ba57516c75965",
        sha256="4b4522bcca81d90e486f8cfb92213597b899d68764ce5fc08db37e3352e02a7d",
    ),
    _torchvision(
        "resnext50_32x4d",
        "IMAGENET1K_V2",
        "resnext50_32x4d-1a0047aa.pth",
        resize=232,
        top1=81.198,
        top5=95.340,
        train_size=176,
    ),
    _timm(
        "resnext50_32x4d",
        "tv2_in1k",
        "bsd-3-clause",
        f"{_PYTORCH}resnext50_32x4d-1a0047aa.pth",
        train_size=176,
        evaluations=(
            Evaluation(224, 0.965, 81.190, 95.344),
            Evaluation(176, 0.875, 79.384, 94.302),
        ),
        interpolation="bilinear",
        note="IMAGENET1K_V2, as timm converted and measured it",
    ),
    _timm(
        "resnext50_32x4d",
        "ra_in1k",
        "apache-2.0",
        f"{_TIMM}v0.1-weights/resnext50_32x4d_ra-d733960d.pth",
        evaluations=(
            Evaluation(288, 0.95, 80.720, 95.344),
            Evaluation(224, 0.875, 79.800, 94.608),
        ),
        interpolation="bicubic",
    ),
    _facebook(
        "resnext50_32x4d",
        "fb_ssl_yfcc100m_ft_in1k",
        f"{_SEMI}semi_supervised_resnext50_32x4-ddb3e555.pth",
        80.316,
        95.386,
    ),
    _timm(
        "resnext50_32x4d",
        "gluon_in1k",
        "apache-2.0",
        f"{_GLUON}gluon_resnext50_32x4d-e6a097c1.pth",
        evaluations=(Evaluation(224, 0.875, 79.354, 94.424),),
        interpolation="bicubic",
    ),
    _timm(
        "resnext50_32x4d",
        "a3_in1k",
        "apache-2.0",
        f"{_TIMM}v0.1-rsb-weights/resnext50_32x4d_a3_0-3e450271.pth",
        train_size=160,
        evaluations=(
            Evaluation(224, 0.95, 79.258, 94.308),
            Evaluation(160, 0.95, 77.732, 93.314),
        ),
        interpolation="bicubic",
        revision="97dff44c340d0f00933a0659edc8ccb444cef692",
        sha256="55480d1612cf33904614f2a3891a0853022cb78c95a3ad734e185ae6575ee545",
    ),
    _mmpretrain(
        "resnext50_32x4d",
        "resnext50_32x4d_b32x8_imagenet_20210429-56066e27.pth",
        77.900,
        93.660,
    ),
    _keras(
        "resnext50_32x4d",
        "resnext50",
        md5="67a5b30d522ed92f75a1f16eef299d1a",
        md5_notop="62527c363bdd9ec598bed41947b379fc",
        top1=77.740,
        top5=93.810,
    ),
    _timm(
        "resnext50_32x4d",
        "tv_in1k",
        "bsd-3-clause",
        f"{_PYTORCH}resnext50_32x4d-7cdf4587.pth",
        evaluations=(Evaluation(224, 0.875, 77.632, 93.674),),
        interpolation="bilinear",
        revision="ac4eef0c61cc63cb64d8c416bf9b518f757bed1f",
        sha256="c0d85cba49c0e9dedbcf6d4e572e2c5ea5eb68e9d64d0564811fd54d4f72939a",
        note="IMAGENET1K_V1, as timm converted and measured it",
    ),
    _torchvision(
        "resnext50_32x4d",
        "IMAGENET1K_V1",
        "resnext50_32x4d-7cdf4587.pth",
        resize=256,
        top1=77.618,
        top5=93.698,
    ),
    _qubvel(
        "resnext50_32x4d",
        "resnext50",
        "noassertion",
        md5="7c5c40381efb044a8dea5287ab2c83db",
        md5_notop="7ade5c8aac9194af79b1724229bdaa50",
        top1=76.890,
        top5=93.320,
        note=_QUBVEL_RESNEXT,
    ),
    _timm(
        "resnext50d_32x4d",
        "bt_in1k",
        "apache-2.0",
        f"{_TIMM_OLD}v0.1-weights/resnext50d_32x4d-103e99f8.pth",
        evaluations=(
            Evaluation(288, 0.95, 80.676, 95.426),
            Evaluation(224, 0.875, 79.672, 94.878),
        ),
        interpolation="bicubic",
        sha256="508955b5442952c36d6e23b274fc0302268bb602f00ff675220100ba56bb631f",
    ),
    _facebook(
        "resnext101_32x4d",
        "fb_swsl_ig1b_ft_in1k",
        f"{_SEMI}semi_weakly_supervised_resnext101_32x4-3f87e46b.pth",
        83.268,
        96.760,
    ),
    _facebook(
        "resnext101_32x4d",
        "fb_ssl_yfcc100m_ft_in1k",
        f"{_SEMI}semi_supervised_resnext101_32x4-dc43570a.pth",
        80.936,
        95.732,
    ),
    _timm(
        "resnext101_32x4d",
        "gluon_in1k",
        "apache-2.0",
        f"{_GLUON}gluon_resnext101_32x4d-b253c8c4.pth",
        evaluations=(Evaluation(224, 0.875, 80.336, 94.908),),
        interpolation="bicubic",
        revision="1aa88255bc70855bbae0f0f5faee010950a5561c",
        sha256="fe0599be8d1841a4eac53668d059e3e11b3ec968047de658153c5df61421b0d7",
    ),
    _keras(
        "resnext101_32x4d",
        "resnext101",
        md5="34fb605428fcc7aa4d62f44404c11509",
        md5_notop="0f678c91647380debd923963594981b3",
        top1=78.730,
        top5=94.294,
    ),
    _mmpretrain(
        "resnext101_32x4d",
        "resnext101_32x4d_b32x8_imagenet_20210506-e0fa3dd5.pth",
        78.610,
        94.170,
    ),
    _qubvel(
        "resnext101_32x4d",
        "resnext101",
        "noassertion",
        md5="432536e85ee811568a0851c328182735",
        md5_notop="91fe0126320e49f6ee607a0719828c7e",
        top1=78.280,
        top5=94.080,
        note=_QUBVEL_RESNEXT,
    ),
    _torchvision(
        "resnext101_64x4d",
        "IMAGENET1K_V1",
        "resnext101_64x4d-173b62eb.pth",
        resize=232,
        top1=83.246,
        top5=96.454,
        train_size=176,
    ),
    _timm(
        "resnext101_64x4d",
        "c1_in1k",
        "apache-2.0",
        f"{_TIMM_OLD}v0.1-tpu-weights/resnext101_64x4d_c-0d0e0cc0.pth",
        evaluations=(
            Evaluation(288, 1.0, 83.158, 96.370),
            Evaluation(224, 0.95, 82.446, 95.920),
        ),
        interpolation="bicubic",
    ),
    _timm(
        "resnext101_64x4d",
        "tv_in1k",
        "bsd-3-clause",
        f"{_PYTORCH}resnext101_64x4d-173b62eb.pth",
        evaluations=(Evaluation(224, 0.875, 82.978, 96.252),),
        interpolation="bilinear",
        revision="b52b84c25d52898fcf1f15803ee5a080ebfede0b",
        sha256="47528f24e5cd6844249c9e4ea11aed6619431b83a0596afe80efdfffdb369900",
        note="IMAGENET1K_V1, as timm converted and measured it",
    ),
    _timm(
        "resnext101_64x4d",
        "gluon_in1k",
        "apache-2.0",
        f"{_GLUON}gluon_resnext101_64x4d-f9a8e184.pth",
        evaluations=(Evaluation(224, 0.875, 80.640, 95.000),),
        interpolation="bicubic",
        revision="0a3f3a180c200a59ea23541c206f11c49280cbd6",
    ),
    _facebook(
        "resnext101_32x8d",
        "fb_swsl_ig1b_ft_in1k",
        f"{_SEMI}semi_weakly_supervised_resnext101_32x8-b4712904.pth",
        84.276,
        97.188,
    ),
    _torchvision(
        "resnext101_32x8d",
        "IMAGENET1K_V2",
        "resnext101_32x8d-110c445d.pth",
        resize=232,
        top1=82.834,
        top5=96.228,
        train_size=176,
    ),
    _timm(
        "resnext101_32x8d",
        "tv2_in1k",
        "bsd-3-clause",
        f"{_PYTORCH}resnext101_32x8d-110c445d.pth",
        train_size=176,
        evaluations=(
            Evaluation(224, 0.965, 82.832, 96.234),
            Evaluation(176, 0.875, 81.990, 95.716),
        ),
        interpolation="bilinear",
        revision="027b0f16bf147c3e56df46309d78421a430cfa05",
        sha256="580cfe940c344745cc8a629517a5c3300b6aeea9bd88a258f61027da010344af",
        note="IMAGENET1K_V2, as timm converted and measured it",
    ),
    _facebook(
        "resnext101_32x8d",
        "fb_wsl_ig1b_ft_in1k",
        f"{_PYTORCH}ig_resnext101_32x8-c38310e5.pth",
        82.720,
        96.624,
    ),
    _facebook(
        "resnext101_32x8d",
        "fb_ssl_yfcc100m_ft_in1k",
        f"{_SEMI}semi_supervised_resnext101_32x8-2cfe2f8b.pth",
        81.620,
        96.036,
    ),
    _torchvision(
        "resnext101_32x8d",
        "IMAGENET1K_V1",
        "resnext101_32x8d-8ba56ff5.pth",
        resize=256,
        top1=79.312,
        top5=94.526,
    ),
    _timm(
        "resnext101_32x8d",
        "tv_in1k",
        "bsd-3-clause",
        f"{_PYTORCH}resnext101_32x8d-8ba56ff5.pth",
        evaluations=(Evaluation(224, 0.875, 79.308, 94.530),),
        interpolation="bilinear",
        sha256="71c7427e233904ad828b768b9683876dc71f143876cbadaa26428bfea3560fc3",
        note="IMAGENET1K_V1, as timm converted and measured it",
    ),
    _mmpretrain(
        "resnext101_32x8d",
        "resnext101_32x8d_b32x8_imagenet_20210506-23a247d5.pth",
        79.270,
        94.580,
    ),
    _facebook(
        "resnext101_32x16d",
        "fb_wsl_ig1b_ft_in1k",
        f"{_PYTORCH}ig_resnext101_32x16-c6f796b0.pth",
        84.166,
        97.192,
    ),
    _facebook(
        "resnext101_32x16d",
        "fb_swsl_ig1b_ft_in1k",
        f"{_SEMI}semi_weakly_supervised_resnext101_32x16-f3559a9c.pth",
        83.340,
        96.844,
    ),
    _facebook(
        "resnext101_32x16d",
        "fb_ssl_yfcc100m_ft_in1k",
        f"{_SEMI}semi_supervised_resnext101_32x16-15fffa57.pth",
        81.856,
        96.084,
    ),
    _facebook(
        "resnext101_32x32d",
        "fb_wsl_ig1b_ft_in1k",
        f"{_PYTORCH}ig_resnext101_32x32-e4b90b00.pth",
        85.090,
        97.442,
    ),
    # timm has the address but no model of this size, so no file on the hub.
    # Accuracies: https://github.com/facebookresearch/WSL-Images
    _timm(
        "resnext101_32x48d",
        "fb_wsl_ig1b_ft_in1k",
        "cc-by-nc-4.0",
        f"{_PYTORCH}ig_resnext101_32x48-3e41cc8a.pth",
        evaluations=(Evaluation(224, 0.875, 85.4, 97.6),),
        interpolation="bilinear",
        on_hub=False,
    ),
    _mmpretrain(
        "resnext152_32x4d",
        "resnext152_32x4d_b32x8_imagenet_20210524-927787be.pth",
        78.880,
        94.330,
    ),
    _timm(
        "seresnext26d_32x4d",
        "bt_in1k",
        "apache-2.0",
        f"{_TIMM_OLD}v0.1-weights/seresnext26d_32x4d-80fa48a3.pth",
        evaluations=(
            Evaluation(288, 0.95, 78.816, 94.266),
            Evaluation(224, 0.875, 77.592, 93.614),
        ),
        interpolation="bicubic",
        revision="3c9b4bb4083e60b4259a878c4b4fec97cd0030dc",
        sha256="c4678033c69839fdcc6f181e290e957fdbbe12d1d6543308a2e68e90f08c2e38",
    ),
    _timm(
        "seresnext26t_32x4d",
        "bt_in1k",
        "apache-2.0",
        f"{_TIMM_OLD}v0.1-weights/seresnext26tn_32x4d-569cb627.pth",
        evaluations=(
            Evaluation(288, 0.95, 78.736, 94.318),
            Evaluation(224, 0.875, 77.980, 93.750),
        ),
        interpolation="bicubic",
    ),
    _timm(
        "seresnext50_32x4d",
        "racm_in1k",
        "apache-2.0",
        f"{_TIMM_OLD}v0.1-weights/seresnext50_32x4d_racm-a304a460.pth",
        evaluations=(
            Evaluation(288, 0.95, 82.186, 96.146),
            Evaluation(224, 0.875, 81.268, 95.624),
        ),
        interpolation="bicubic",
    ),
    _timm(
        "seresnext50_32x4d",
        "gluon_in1k",
        "apache-2.0",
        f"{_GLUON}gluon_seresnext50_32x4d-90cf2d6e.pth",
        evaluations=(Evaluation(224, 0.875, 79.916, 94.816),),
        interpolation="bicubic",
    ),
    _qubvel(
        "seresnext50_32x4d",
        "seresnext50",
        "apache-2.0",
        md5="5310dcd58ed573aecdab99f8df1121d5",
        md5_notop="b0f23d2e1cd406d67335fb92d85cc279",
        top1=78.740,
        top5=94.300,
        note=_QUBVEL_SENET,
    ),
    _timm(
        "seresnext101_32x4d",
        "gluon_in1k",
        "apache-2.0",
        f"{_GLUON}gluon_seresnext101_32x4d-cf52900d.pth",
        evaluations=(Evaluation(224, 0.875, 80.886, 95.268),),
        interpolation="bicubic",
    ),
    _qubvel(
        "seresnext101_32x4d",
        "seresnext101",
        "apache-2.0",
        md5="be5b26b697a0f7f11efaa1bb6272fc84",
        md5_notop="e48708cbe40071cc3356016c37f6c9c7",
        top1=79.880,
        top5=94.870,
        note=_QUBVEL_SENET,
    ),
    _timm(
        "seresnext101_32x8d",
        "ah_in1k",
        "apache-2.0",
        f"{_TIMM_OLD}v0.1-tpu-weights/seresnext101_32x8d_ah-e6bc4c0a.pth",
        evaluations=(
            Evaluation(288, 1.0, 84.192, 96.860),
            Evaluation(224, 0.95, 83.618, 96.412),
        ),
        interpolation="bicubic",
    ),
    _timm(
        "seresnext101_64x4d",
        "gluon_in1k",
        "apache-2.0",
        f"{_GLUON}gluon_seresnext101_64x4d-f9926f93.pth",
        evaluations=(Evaluation(224, 0.875, 80.884, 95.308),),
        interpolation="bicubic",
        sha256="599eeb3b73f19d0a0b09dc32a5edd8861009d28c1955d48c5b61caf0df14ffe1",
    ),
    _timm(
        "seresnext101d_32x8d",
        "ah_in1k",
        "apache-2.0",
        f"{_TIMM_OLD}v0.1-tpu-weights/seresnext101d_32x8d_ah-191d7b94.pth",
        evaluations=(
            Evaluation(288, 1.0, 84.380, 96.918),
            Evaluation(224, 0.95, 83.702, 96.620),
        ),
        interpolation="bicubic",
    ),
    _timm(
        "seresnextaa101d_32x8d",
        "sw_in12k_ft_in1k_288",
        "apache-2.0",
        None,
        train_size=288,
        evaluations=(
            Evaluation(320, 1.0, 86.722, 98.184),
            Evaluation(288, 0.95, 86.530, 98.094),
        ),
        interpolation="bicubic",
    ),
    _timm(
        "seresnextaa101d_32x8d",
        "sw_in12k_ft_in1k",
        "apache-2.0",
        None,
        evaluations=(
            Evaluation(288, 1.0, 86.524, 98.034),
            Evaluation(224, 0.875, 85.956, 97.824),
        ),
        interpolation="bicubic",
    ),
    _timm(
        "seresnextaa101d_32x8d",
        "ah_in1k",
        "apache-2.0",
        f"{_TIMM_OLD}v0.1-tpu-weights/seresnextaa101d_32x8d_ah-83c8ae12.pth",
        evaluations=(
            Evaluation(288, 1.0, 84.580, 97.062),
            Evaluation(224, 0.95, 83.900, 96.648),
        ),
        interpolation="bicubic",
    ),
    _timm(
        "seresnextaa101d_32x8d",
        "sw_in12k",
        "apache-2.0",
        None,
        evaluations=(
            Evaluation(288, 1.0, None, None),
            Evaluation(224, 0.95, None, None),
        ),
        interpolation="bicubic",
        classes=11821,
        sha256="c3b87e97244ff7d69bfa026ded6cde01e653e832fa94294610836295258a1b6d",
    ),
    _timm(
        "seresnextaa201d_32x8d",
        "sw_in12k_ft_in1k_384",
        "apache-2.0",
        None,
        train_size=384,
        evaluations=(Evaluation(384, 1.0, 87.304, 98.334),),
        interpolation="bicubic",
    ),
    _timm(
        "seresnextaa201d_32x8d",
        "sw_in12k",
        "apache-2.0",
        None,
        train_size=320,
        evaluations=(
            Evaluation(384, 1.0, None, None),
            Evaluation(320, 0.95, None, None),
        ),
        interpolation="bicubic",
        classes=11821,
        revision="871be5cf6065683b87db099eb08dc92eb981e476",
        sha256="5b926c6d1c0383ac036574ed4fe95a983b90678c1ae4be6c57808bc2725aa608",
    ),
    _timm(
        "legacy_seresnext26_32x4d",
        "in1k",
        "apache-2.0",
        f"{_TIMM_OLD}v0.1-weights/seresnext26_32x4d-65ebdb501.pth",
        evaluations=(Evaluation(224, 0.875, 77.100, 93.332),),
        interpolation="bicubic",
        layout="timm_senet",
        on_hub=False,
    ),
    _timm(
        "legacy_seresnext50_32x4d",
        "in1k",
        "apache-2.0",
        f"{_TIMM_OLD}v0.1-weights/legacy_se_resnext50_32x4d-f3651bad.pth",
        evaluations=(Evaluation(224, 0.875, 79.080, 94.428),),
        interpolation="bilinear",
        layout="timm_senet",
        on_hub=False,
    ),
    _timm(
        "legacy_seresnext101_32x4d",
        "in1k",
        "apache-2.0",
        f"{_TIMM_OLD}v0.1-weights/legacy_se_resnext101_32x4d-37725eac.pth",
        evaluations=(Evaluation(224, 0.875, 80.274, 95.032),),
        interpolation="bilinear",
        layout="timm_senet",
        on_hub=False,
    ),
    _timm(
        "skresnext50_32x4d",
        "ra_in1k",
        "apache-2.0",
        None,
        evaluations=(Evaluation(224, 0.875, 80.168, 94.644),),
        interpolation="bicubic",
        layout="timm_sk",
    ),
    _timm(
        "cspresnext50",
        "ra_in1k",
        "apache-2.0",
        f"{_TIMM_OLD}v0.1-weights/cspresnext50_ra_224-648b4713.pth",
        train_size=256,
        evaluations=(Evaluation(256, 0.887, 80.548, 95.330),),
        interpolation="bilinear",
        layout="timm_csp",
    ),
    _timm(
        "resnext26ts",
        "ra2_in1k",
        "apache-2.0",
        f"{_TIMM_OLD}v0.1-attn-weights/resnext26ts_256_ra2-8bbd9106.pth",
        train_size=256,
        evaluations=(
            Evaluation(288, 1.0, 77.186, 93.470),
            Evaluation(256, 0.9, 76.768, 93.138),
        ),
        interpolation="bicubic",
        layout="timm_byob",
    ),
    _timm(
        "seresnext26ts",
        "ch_in1k",
        "apache-2.0",
        f"{_TIMM_OLD}v0.1-attn-weights/seresnext26ts_256-6f0d74a3.pth",
        train_size=256,
        evaluations=(
            Evaluation(288, 1.0, 78.292, 94.076),
            Evaluation(256, 0.9, 77.860, 93.790),
        ),
        interpolation="bicubic",
        layout="timm_byob",
    ),
    _timm(
        "eca_resnext26ts",
        "ch_in1k",
        "apache-2.0",
        f"{_TIMM_OLD}v0.1-attn-weights/eca_resnext26ts_256-5a1d030f.pth",
        train_size=256,
        evaluations=(
            Evaluation(288, 1.0, 78.020, 93.932),
            Evaluation(256, 0.9, 77.446, 93.574),
        ),
        interpolation="bicubic",
        layout="timm_byob",
        revision="ba723bc273bd3150f114f9eba90538f6d42c9940",
        sha256="f05c7999fac95c5f7b9ac686318f24ab2697758baddb3c4bb66cffa7be5f9b0c",
    ),
    _timm(
        "bat_resnext26ts",
        "ch_in1k",
        "apache-2.0",
        f"{_TIMM_OLD}v0.1-attn-weights/bat_resnext26ts_256-fa6fd595.pth",
        train_size=256,
        evaluations=(Evaluation(256, 0.9, 78.280, 94.114),),
        interpolation="bicubic",
        layout="timm_byob",
    ),
    _timm(
        "gcresnext26ts",
        "ch_in1k",
        "apache-2.0",
        f"{_TIMM_OLD}v0.1-attn-weights/gcresnext26ts_256-e414378b.pth",
        train_size=256,
        evaluations=(
            Evaluation(288, 1.0, 78.436, 94.028),
            Evaluation(256, 0.9, 77.810, 93.816),
        ),
        interpolation="bicubic",
        layout="timm_byob",
    ),
    _timm(
        "gcresnext50ts",
        "ch_in1k",
        "apache-2.0",
        f"{_TIMM_OLD}v0.1-attn-weights/gcresnext50ts_256-3e0f515e.pth",
        train_size=256,
        evaluations=(
            Evaluation(288, 1.0, 81.242, 95.536),
            Evaluation(256, 0.9, 80.608, 95.180),
        ),
        interpolation="bicubic",
        layout="timm_byob",
    ),
    Weights(
        "resnext23s_4x32d",
        "cifar10",
        sources=(
            PackageFile(
                "resnext23s_4x32d.cifar10.safetensors",
                "a44809ad06ef13dd7aa458889d10c71df9206110dfa603a36f15e7beda06ed86",
            ),
        ),
        license="apache-2.0",
        num_params=921_514,
        train_size=32,
        evaluations=(Evaluation(32, 1.0, 89.25, 99.44),),
        interpolation="bicubic",
        classes=10,
        dataset="cifar10",
        mean=_CIFAR10_MEAN,
        std=_CIFAR10_STD,
    ),
)
