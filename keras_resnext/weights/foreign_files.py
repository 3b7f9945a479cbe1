"""Files and folders of formats that can't be read."""

import pathlib
import re

from keras_resnext.weights.files import shown

_WEB_PAGE = (
    "is a web page, perhaps of an error, instead of a checkpoint; get the "
    "file itself"
)
_ORIGIN = "use the PyTorch, safetensors or Keras checkpoint it was made from"
_UNPACK = "unpack it first"

# Pattern at the beginning of a file, and a description of such a file.
_HEADS = {
    rb"\Z": "is empty; get a copy that is whole",
    rb"\s*version https://git-lfs": "is a Git LFS pointer, not the file that "
    "it points to; run `git lfs pull` or download that file",
    rb"\s*(?i:<!doctype|<html|<\?xml)": _WEB_PAGE,
    rb"\x1f\x8b": f"is compressed by gzip; {_UNPACK} (`gunzip`)",
    rb"BZh": f"is compressed by bzip2; {_UNPACK} (`bunzip2`)",
    rb"\xfd7zXZ\0": f"is compressed by xz; {_UNPACK} (`unxz`)",
    rb"\x28\xb5\x2f\xfd": f"is compressed by Zstandard; {_UNPACK} (`unzstd`)",
    rb"\x04\x22\x4d\x18": f"is compressed by LZ4; {_UNPACK} (`unlz4`)",
    rb"7z\xbc\xaf": f"is a 7-Zip archive; {_UNPACK}",
    rb"Rar!": f"is a RAR archive; {_UNPACK}",
    rb"PK\x05\x06": "is an empty zip archive; get a copy that is whole",
    rb"(?s).{257}ustar": f"is a tar archive; {_UNPACK}, or if PyTorch before "
    "0.2 wrote it, open it with torch.load and save it again",
    rb"\x93NUMPY": f"is an array of NumPy (.npy); {_ORIGIN}",
    rb"(?s).{4}TFL3": f"is a model of TensorFlow Lite; {_ORIGIN}",
    rb"GGUF": f"is a GGUF file of llama.cpp; {_ORIGIN}",
    rb"(?s)\x12\x01\0\0\0\0\0\0": f"is a parameter file of MXNet; {_ORIGIN}",
    rb"(?s)\x08.\x12.(pytorch|tf2onnx|onnx|keras)": f"is a model of ONNX; "
    f"{_ORIGIN}",
    rb"\x80[\x02-\x05](?s:.{0,40})(numpy|_codecs)": "is a pickle of NumPy "
    "arrays that torch.save did not write; save a state dict with torch.save",
    rb"\x80[\x02-\x05]": "is a pickle that torch.save did not write; save a "
    "state dict with torch.save",
}
# The same for names of files whose content has no such pattern.
_NAMES = {
    r".*\.onnx": f"is a model of ONNX; {_ORIGIN}",
    r".*\.pb": f"is a graph of TensorFlow; {_ORIGIN}",
    r".*\.data-\d{5}-of-\d{5}|.*\.index|.*\.ckpt\.meta|checkpoint": "is a part "
    f"of a TensorFlow checkpoint; {_ORIGIN}, or save the model with Keras",
    r".*\.msgpack": f"is a checkpoint of Flax; {_ORIGIN}",
    r".*\.distcp": "is a part of a distributed checkpoint of PyTorch; merge "
    "it with torch.distributed.checkpoint.format_utils.dcp_to_torch_save",
    r".*\.json": "is a JSON file; name the file of the weights, or an index "
    "whose name ends in '.index.json'",
    r".*\.(ya?ml|toml|txt|md|py|csv|log)": "is a text file; name the file of "
    "the weights",
}

# File or folder in a folder, and a description of such a folder.
_FOLDERS = {
    "zero_to_fp32.py": "is a folder of DeepSpeed; run its zero_to_fp32.py and "
    "name the file that it writes",
    "mp_rank_*_model_states.pt": "is a folder of DeepSpeed; run the "
    "zero_to_fp32.py beside it and name the file that it writes",
    ".metadata": "is a distributed checkpoint of PyTorch (FSDP); merge it with "
    "torch.distributed.checkpoint.format_utils.dcp_to_torch_save",
    "*.distcp": "is a distributed checkpoint of PyTorch (FSDP) without its "
    ".metadata; get a copy that is whole",
    "saved_model.pb": f"is a SavedModel of TensorFlow; {_ORIGIN}",
    "_CHECKPOINT_METADATA": f"is a checkpoint of Orbax; {_ORIGIN}",
    "*.ckpt-*.index": f"is a TensorFlow checkpoint; {_ORIGIN}",
    "checkpoint": f"is a TensorFlow checkpoint; {_ORIGIN}",
}
_WEIGHTS = re.compile(
    r".*\.(safetensors|index\.json|pth|pt|bin|h5|keras|ckpt|tar)"
)
_MAX_NAMED = 5


def fault_of_file(head: bytes, path: pathlib.Path) -> str | None:
    """Describe a file of a format that can't be read.

    Args:
        head: First bytes of the file.
        path: Its path.

    Returns:
        A description and what to do, `None` if the format is unknown.
    """
    for pattern, fault in _HEADS.items():
        if re.match(pattern, head):
            return fault
    for name, fault in _NAMES.items():
        if re.fullmatch(name, path.name):
            return fault
    return None


def fault_of_folder(path: pathlib.Path) -> str:
    """Describe a folder that was named instead of a file.

    Args:
        path: Path of something that is not a file.

    Returns:
        A description and what to do.
    """
    if not path.is_dir():
        return "is not a file but a device or a pipe; copy it to a file"
    for pattern, fault in _FOLDERS.items():
        if any(path.glob(pattern)):
            return fault
    files = sorted(p.name for p in path.iterdir() if p.is_file())
    named = [shown(name) for name in files if _WEIGHTS.fullmatch(name)]
    some = f": {', '.join(named[:_MAX_NAMED])}" if named else ""
    return f"is not a file but a folder; name a file inside it{some}"
