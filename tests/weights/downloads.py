"""A file to download, its sources, and a network that can go away."""

import contextlib
import hashlib
import pathlib
from collections.abc import Iterator
from typing import Any

import pytest
import tinynet
from hub import Hub
from huggingface_hub import constants

from keras_resnext.weights import fetch as fetching
from keras_resnext.weights.records import HubFile
from keras_resnext.weights.records import WebFile

CONTENT = bytes(range(256)) * 4096
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MD5 = hashlib.md5(CONTENT).hexdigest()


def addresses(server: Hub) -> dict[str, str]:
    """Return the hub library's constants for a server that is the hub."""
    template = "/{repo_id}/resolve/{revision}/{filename}"
    return {
        "ENDPOINT": server.url,
        "HUGGINGFACE_CO_URL_TEMPLATE": server.url + template,
    }


def go_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set what `HF_HUB_OFFLINE=1` sets at the start."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


@contextlib.contextmanager
def unreachable_hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """Return the hub's address, with nobody there."""
    with Hub() as gone:
        pass
    with monkeypatch.context() as patch:
        for name, value in addresses(gone).items():
            patch.setattr(constants, name, value)
        yield gone


def hub_source(hub: Hub, **options: Any) -> HubFile:
    """Publish the file in a repository."""
    return hub.hub_file(CONTENT, **{"sha256": SHA256, **options})


def web_source(hub: Hub, name: str = "tiny.pth", **options: Any) -> WebFile:
    """Publish the file on a release page."""
    return hub.web_file(CONTENT, name, **{"md5": MD5, **options})


def fetch(*sources: HubFile | WebFile, **options: Any) -> pathlib.Path:
    """Fetch the file, and assert that it is the one published."""
    path = fetching.fetch(tinynet.record(*sources), **options)
    assert path.read_bytes() == CONTENT
    return path
