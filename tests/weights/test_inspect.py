"""What a checkpoint file says of itself."""

import pytest
import safetensors.numpy
import tinynet

import keras_resnext
from keras_resnext import CheckpointError
from keras_resnext import CheckpointInfo
from keras_resnext import inspect_checkpoint

pytestmark = pytest.mark.once


@pytest.mark.parametrize("layout", ["timm_resnet", "keras_applications"])
@pytest.mark.parametrize(("head", "classes"), [(True, 5), (False, None)])
def test_layout_classes_and_tensors(layout, head, classes, tmp_path):
    model = tinynet.build(include_top=head)
    path = tmp_path / "w.safetensors"
    tensors = tinynet.checkpoint(model, layout=layout)
    safetensors.numpy.save_file(tensors, path)
    assert inspect_checkpoint(path) == CheckpointInfo(
        layout, (), classes, len(tensors)
    )


def test_variants(tmp_path):
    model = keras_resnext.get_model("resnext26ts", weights=None, classes=3)
    path = tmp_path / "w.safetensors"
    keras_resnext.save_torch_checkpoint(model, path)
    info = inspect_checkpoint(str(path))
    assert info.variants == ("resnext26ts",)
    assert (info.layout, info.classes) == ("timm_byob", 3)


@pytest.mark.parametrize("name", ["w.weights.h5", "w.keras"])
@pytest.mark.parametrize(("head", "classes"), [(True, 5), (False, None)])
def test_files_of_keras(name, head, classes, tmp_path):
    model = tinynet.build(include_top=head)
    save = model.save if name == "w.keras" else model.save_weights
    save(tmp_path / name)
    assert inspect_checkpoint(tmp_path / name) == CheckpointInfo(
        "keras", (), classes, len(model.weights)
    )


@pytest.mark.parametrize("name", ["w.weights.h5", "w.keras", "w.pth"])
@pytest.mark.parametrize("content", [b"", b"no weights", b"PK\x03\x04"])
def test_damaged_file(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError) as info:
        inspect_checkpoint(tmp_path / name)
    message = str(info.value)
    assert name in message
    assert "\n" not in message


@pytest.mark.parametrize("name", ["w.weights.h5", "w.keras", "w.pth"])
def test_missing_file(name, tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no checkpoint file"):
        inspect_checkpoint(tmp_path / name)
