"""A server that is the hub to this process, and empty caches."""

import logging

import huggingface_hub
import pytest
from downloads import addresses
from hub import Hub
from huggingface_hub import constants


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Serve the hub to this process, with empty caches."""
    with Hub() as server:
        environment = {
            "HF_ENDPOINT": server.url,
            "HF_HOME": str(tmp_path / "hub"),
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_XET": "1",
            "KERAS_HOME": str(tmp_path / "keras"),
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
        }
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        # The library read its environment when it was imported.
        values = {
            **addresses(server),
            "HF_HOME": str(tmp_path / "hub"),
            "HF_HUB_CACHE": str(tmp_path / "hub" / "hub"),
            "HF_TOKEN_PATH": str(tmp_path / "hub" / "token"),
            "HF_HUB_DISABLE_TELEMETRY": True,
            "HF_HUB_DISABLE_XET": True,
            "HF_HUB_OFFLINE": False,
        }
        for name, value in values.items():
            monkeypatch.setattr(constants, name, value)
        # It waits longer and longer between attempts.
        monkeypatch.setattr("time.sleep", lambda seconds: None)
        logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
        huggingface_hub.close_session()
        yield server
        huggingface_hub.close_session()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("mutated")


@pytest.fixture
def web_cache(tmp_path):
    return tmp_path / "keras" / "models"
