"""What tests share: compiled programs, the optional real maps and golden numbers, the words of setup.py."""

import faulthandler
import json
import os
import pathlib
import runpy
import shutil
import sys
import tempfile
import types

import numpy as np
import pytest


def pytest_configure(config):
    """Lets tests and the scripts they start compile quickly, and once: most of their time is compiling."""
    folder = tempfile.mkdtemp(prefix="hicfm_jax_tests_")
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
    # Read by jax when it is imported, here and in child processes.
    os.environ["JAX_COMPILATION_CACHE_DIR"] = folder
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.3"
    # The same operations in the same order, with less effort for loops; matrix products are a library's.
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_backend_optimization_level=0".lstrip()


def pytest_unconfigure():
    """Fails, and shows where it waits, if this program does not come to its end after the tests."""
    faulthandler.dump_traceback_later(120, exit=True)


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


@pytest.fixture(scope="session")
def setup_arguments():
    """What setup.py hands to setuptools, which a Python 3.12 environment need not have."""
    called = {}
    stand_in = types.ModuleType("setuptools")
    stand_in.find_packages = lambda **_: []
    stand_in.setup = called.update
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "setuptools", stand_in)
        runpy.run_path(str(pathlib.Path(__file__).resolve().parents[1] / "setup.py"))
    return called
