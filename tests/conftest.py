"""Where the optional real maps and golden numbers are found, and what happens when they are not."""

import json
import os
import pathlib

import numpy as np
import pytest

SHARED = pathlib.Path(os.environ.get("HICFM_SHARED", pathlib.Path(__file__).resolve().parents[2] / "shared"))


def _folder(name: str) -> pathlib.Path:
    folder = SHARED / name
    if not folder.is_dir():
        message = f"{name}/ is not beside this checkout (set HICFM_SHARED to the folder that holds it)"
        if os.environ.get("HICFM_REQUIRE_FIXTURES") == "1":
            pytest.fail(message)
        pytest.skip(message)
    return folder


@pytest.fixture(scope="session")
def data_dir() -> pathlib.Path:
    """Folder of the real contact maps."""
    return _folder("data")


@pytest.fixture(scope="session")
def fixtures_dir() -> pathlib.Path:
    """Folder of the golden numbers computed with the original PyTorch code."""
    return _folder("fixtures")


@pytest.fixture(scope="session")
def golden(fixtures_dir):
    """Returns `load(name) -> (arrays, manifest)` for a golden `.npz` and the `.json` beside it."""

    def load(name: str):
        manifest = json.loads((fixtures_dir / f"{name}.json").read_text())
        return np.load(fixtures_dir / f"{name}.npz"), manifest

    return load
