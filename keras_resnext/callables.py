"""Named models, as functions like those of `keras.applications`."""

from functools import partial

from keras_resnext.contract import named
from keras_resnext.models import ResNeXt

_callable = partial(named, ResNeXt)

ResNeXt50_32x4d = _callable("ResNeXt50_32x4d")
"""ResNeXt-50 of 32x4d, the paper's first."""
ResNeXt50d_32x4d = _callable("ResNeXt50d_32x4d")
"""ResNeXt-50 of 32x4d with a deep stem and average-pooled shortcuts."""
ResNeXt101_32x4d = _callable("ResNeXt101_32x4d")
"""ResNeXt-101 of 32x4d."""
ResNeXt101_32x8d = _callable("ResNeXt101_32x8d")
"""ResNeXt-101 of 32x8d, torchvision's."""
ResNeXt101_32x16d = _callable("ResNeXt101_32x16d")
"""ResNeXt-101 of 32x16d."""
ResNeXt101_32x32d = _callable("ResNeXt101_32x32d")
"""ResNeXt-101 of 32x32d."""
ResNeXt101_32x48d = _callable("ResNeXt101_32x48d")
"""ResNeXt-101 of 32x48d, 828 million parameters."""
ResNeXt101_64x4d = _callable("ResNeXt101_64x4d")
"""ResNeXt-101 of 64x4d, the paper's best."""
ResNeXt152_32x4d = _callable("ResNeXt152_32x4d")
"""ResNeXt-152 of 32x4d."""
SEResNeXt50_32x4d = _callable("SEResNeXt50_32x4d")
"""ResNeXt-50 of 32x4d with squeeze-and-excitation."""
SEResNeXt101_32x4d = _callable("SEResNeXt101_32x4d")
"""ResNeXt-101 of 32x4d with squeeze-and-excitation."""
SEResNeXt101_32x8d = _callable("SEResNeXt101_32x8d")
"""ResNeXt-101 of 32x8d with squeeze-and-excitation."""
SEResNeXt101_64x4d = _callable("SEResNeXt101_64x4d")
"""ResNeXt-101 of 64x4d with squeeze-and-excitation."""
SEResNeXt101d_32x8d = _callable("SEResNeXt101d_32x8d")
"""SE-ResNeXt-101 with a deep stem and average-pooled shortcuts."""
SEResNeXtAA101d_32x8d = _callable("SEResNeXtAA101d_32x8d")
"""SE-ResNeXt-101-D with average pooling instead of strided convolutions."""
SEResNeXtAA201d_32x8d = _callable("SEResNeXtAA201d_32x8d")
"""SE-ResNeXt-201-D with average pooling instead of strided convolutions."""
SEResNeXt26d_32x4d = _callable("SEResNeXt26d_32x4d")
"""SE-ResNeXt-26 with a deep stem and average-pooled shortcuts."""
SEResNeXt26t_32x4d = _callable("SEResNeXt26t_32x4d")
"""SE-ResNeXt-26 with a tiered stem and average-pooled shortcuts."""
LegacySEResNeXt26_32x4d = _callable("LegacySEResNeXt26_32x4d")
"""SE-ResNeXt-26 as in Caffe: padded below and on the right, with dropout."""
LegacySEResNeXt50_32x4d = _callable("LegacySEResNeXt50_32x4d")
"""SE-ResNeXt-50 of the SENet authors, as in Caffe."""
LegacySEResNeXt101_32x4d = _callable("LegacySEResNeXt101_32x4d")
"""SE-ResNeXt-101 of the SENet authors, as in Caffe."""
ECAResNeXt26t_32x4d = _callable("ECAResNeXt26t_32x4d")
"""ECA-ResNeXt-26 with a tiered stem and average-pooled shortcuts."""
ECAResNeXt50t_32x4d = _callable("ECAResNeXt50t_32x4d")
"""ECA-ResNeXt-50 with a tiered stem and average-pooled shortcuts."""
SKResNeXt50_32x4d = _callable("SKResNeXt50_32x4d")
"""ResNeXt-50 of 32x4d with selective kernels."""
CSPResNeXt50 = _callable("CSPResNeXt50")
"""ResNeXt-50 with cross-stage partial connections."""
ResNeXt26TS = _callable("ResNeXt26TS")
"""ResNeXt-26 with groups of 32 channels, SiLU and a tiered stem."""
SEResNeXt26TS = _callable("SEResNeXt26TS")
"""ResNeXt26TS with squeeze-and-excitation."""
ECAResNeXt26TS = _callable("ECAResNeXt26TS")
"""ResNeXt26TS with efficient channel attention."""
GCResNeXt26TS = _callable("GCResNeXt26TS")
"""ResNeXt26TS with global context."""
BATResNeXt26TS = _callable("BATResNeXt26TS")
"""ResNeXt26TS with bilinear attention; image sizes are multiples of 256."""
GCResNeXt50TS = _callable("GCResNeXt50TS")
"""GCResNeXt26TS with the depths of ResNeXt-50."""
ResNeXt29_8x64d = _callable("ResNeXt29_8x64d")
"""ResNeXt-29 of 8x64d, the paper's CIFAR model."""
ResNeXt29_16x64d = _callable("ResNeXt29_16x64d")
"""ResNeXt-29 of 16x64d, the paper's larger CIFAR model."""
ResNeXt23s_4x32d = _callable("ResNeXt23s_4x32d")
"""ResNeXt-23 of 4x32d, slim enough for CIFAR on a CPU."""

ResNeXt50 = ResNeXt50_32x4d
ResNeXt101 = ResNeXt101_32x4d
