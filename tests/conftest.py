"""What tests share: compiler settings, optional extras, real maps, golden numbers, setup.py's words."""

import faulthandler
import gc
import importlib.metadata
import importlib.util
import json
import os
import pathlib
import runpy
import shutil
import sys
import types

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]

# Distribution extras of setup.py by the module that they bring.
EXTRAS = {
    "apache_beam": "beam",
    "cooltools": "evaluate",
    "distributed": "beam",
    "hicstraw": "straw",
    "hictkpy": "hic",
    "ipykernel": "dev",
    "matplotlib": "evaluate",
    "mkdocs": "docs",
    "nbclient": "dev",
    "pybigtools": "tracks",
    "selenium": "dev",
    "tensorflow": "data",
    "torch": "torch",
}


# Compiles quickly and once: most of the tests' time is compiling. JAX reads this when it is imported, here
# and in child processes: it is set before the conftest.py of a folder imports JAX. Git ignores the cache.
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(ROOT / ".jax_cache")
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["NUMBA_DISABLE_JIT"] = "1"  # cooltools' loops over toy maps take less time than compiling them
# HICFM_DEFAULT_COMPILER=1 keeps the compiler settings of users, for the tests marked `default_compiler`.
# Worker processes inherit the flags; added twice, they would be other flags to the cache.
flags = os.environ.get("XLA_FLAGS", "")
if os.environ.get("HICFM_DEFAULT_COMPILER") != "1" and "--xla_backend_optimization_level" not in flags:
    # The same operations in the same order, with less effort for loops; matrix products are a library's.
    flags += " --xla_backend_optimization_level=0"
    # Halves the time of compiling; later releases may not know these flags, and would end the process.
    if importlib.metadata.version("jaxlib").startswith("0.10."):
        flags += " --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
    os.environ["XLA_FLAGS"] = flags.lstrip()


def pytest_collection_finish():
    """Leaves modules and tests out of later garbage collections, a tenth of the time otherwise."""
    gc.collect()
    gc.freeze()


def pytest_runtest_setup(item):
    """Skips what needs an extra that is not installed; fails instead under `HICFM_REQUIRE_EXTRAS=1`."""
    for mark in item.iter_markers("needs"):
        for module in mark.args:
            if importlib.util.find_spec(module) is None:
                message = f"{module} is not installed: pip install -e '.[{EXTRAS[module]}]'"
                if os.environ.get("HICFM_REQUIRE_EXTRAS") == "1":
                    pytest.fail(message)
                pytest.skip(message)


def pytest_unconfigure():
    """Fails, and shows where it waits, if this program does not come to its end after the tests."""
    faulthandler.dump_traceback_later(120, exit=True)


@pytest.fixture(scope="session")
def browser():
    """Headless Chromium, driven by selenium; for tests marked `needs("selenium")`."""
    paths = [shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")]
    if None in paths:
        message = "Chromium and chromedriver are not installed (Debian: apt install chromium-driver)"
        if os.environ.get("HICFM_REQUIRE_EXTRAS") == "1":
            pytest.fail(message)
        pytest.skip(message)
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = paths[0]
    for argument in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "force-device-scale-factor=1"):
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(paths[1]))
    yield driver
    driver.quit()


@pytest.fixture(scope="session")
def open_page(browser):
    """Returns `open_page(path, *widths)`: loads a page at the first; it must fit all and log no error."""

    def open_page(path: pathlib.Path, *widths: int):
        for width in widths:
            size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
            browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            if width == widths[0]:
                browser.get(path.as_uri())
            script = "return [innerWidth, document.documentElement.scrollWidth]"
            inner, content = browser.execute_script(script)
            assert inner == width and content <= width, path.name
        assert browser.get_log("browser") == [], path.name
        return browser

    return open_page


@pytest.fixture
def coarse_pictures(monkeypatch):
    """Pictures of matplotlib have few pixels and no axes: for tests of something else.

    Ticks with their numbers, and fitting the parts of a figure to each other, take seconds.
    """
    if importlib.util.find_spec("matplotlib") is None:
        return
    from matplotlib.figure import Figure

    save = Figure.savefig

    def save_coarsely(figure, *arguments, **options):
        figure.set_layout_engine("none")
        for axes in figure.axes:
            axes.set_axis_off()
        save(figure, *arguments, **options | {"dpi": 20, "bbox_inches": None})

    monkeypatch.setattr(Figure, "savefig", save_coarsely)


SHARED = pathlib.Path(os.environ.get("HICFM_SHARED", ROOT.parent / "shared"))


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
def cases_dir() -> pathlib.Path:
    """Folder of small files as people have them, which failed once."""
    return _folder("cases")


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
        runpy.run_path(str(ROOT / "setup.py"))
    return called
