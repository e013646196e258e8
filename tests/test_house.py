"""What the papers promise is there: commands of the README, extras of BUILD.md, declared dependencies."""

import ast
import importlib
import pathlib
import re
import runpy
import shlex
import sys
import types

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from hicfm_jax.config import base_config

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGES = ["README.md", "BUILD.md", "CONTRIBUTING.md"]

# Import name -> distribution, where the two differ.
DISTRIBUTIONS = {
    "absl": "absl-py",
    "hicstraw": "hic-straw",
    "orbax": "orbax-checkpoint",
    "PIL": "pillow",
    "skimage": "scikit-image",
    "tensorflow": "tensorflow-cpu",
}


@pytest.fixture(scope="module")
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


def _names(requirements) -> set[str]:
    return {canonicalize_name(Requirement(requirement).name) for requirement in requirements}


def _commands(page: str) -> list[list[str]]:
    """The shell lines of a page's code blocks, continuation lines joined, comments dropped."""
    blocks = re.findall(
        r"^```(?:bash|sh)\n(.*?)^```", (ROOT / page).read_text(), flags=re.DOTALL | re.MULTILINE
    )
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [words for words in (shlex.split(line, comments=True) for line in lines) if words]


def _flags(script: pathlib.Path) -> set[str]:
    calls = [node for node in ast.walk(ast.parse(script.read_text())) if isinstance(node, ast.Call)]
    defined = [call for call in calls if "DEFINE_" in ast.unparse(call.func)]
    return {call.args[0].value for call in defined}


def test_every_import_is_declared(setup_arguments):
    core = _names(setup_arguments["install_requires"])
    declared = core | {name for extra in setup_arguments["extras_require"].values() for name in _names(extra)}
    for path in [*(ROOT / "hicfm_jax").rglob("*.py"), *ROOT.glob("scripts/*.py"), *ROOT.glob("configs/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module] if isinstance(node, ast.ImportFrom) else []
            for library in {module.split(".")[0] for module in modules}:
                if library in sys.stdlib_module_names or library in {"hicfm_jax", "configs"}:
                    continue
                name = canonicalize_name(DISTRIBUTIONS.get(library, library))
                assert name in declared, f"{path.name} imports {library}, setup.py does not list {name}"
                if {"models", "train", "configs"} & set(path.parts):
                    assert name in core, f"training needs {name}, which a plain install would not bring"


def test_build_page_explains_every_extra(setup_arguments):
    explained = set(re.findall(r"^\| `(\w+)` \|", (ROOT / "BUILD.md").read_text(), flags=re.MULTILINE))
    assert explained == set(setup_arguments["extras_require"])


def test_all_asks_for_neither_compiler_nor_accelerator(setup_arguments):
    extras = setup_arguments["extras_require"]
    everything = {
        name for extra in set(extras) - {"all", "straw", "cuda", "tpu"} for name in _names(extras[extra])
    }
    assert _names(extras["all"]) == everything


def test_a_release_has_its_section_in_the_changelog(setup_arguments):
    sections = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    assert sections[0] == "Unreleased"
    version = setup_arguments["version"]
    assert version.endswith(".dev0") or version == sections[1]


@pytest.mark.parametrize("page", PAGES)
def test_commands_on_the_pages_exist(page):
    makefile = (ROOT / "Makefile").read_text()
    for words in _commands(page):
        if words[0] == "make":
            for target in (word for word in words[1:] if "=" not in word):
                assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), f"make {target}"
        scripts = [word for word in words if word.startswith("scripts/")]
        if not scripts:
            continue
        known = _flags(ROOT / scripts[0])
        for word in words:
            flag, _, value = word.removeprefix("--").partition("=")
            if not word.startswith("--"):
                continue
            assert flag.split(".")[0] in known, f"{scripts[0]} has no flag {word}"
            if flag == "config":
                name, _, variant = value.partition(":")
                module = importlib.import_module(name.removesuffix(".py").replace("/", "."))
                module.get_config(*[variant] if variant else [])


@pytest.mark.parametrize("page", PAGES)
def test_config_fields_on_the_pages_exist(page):
    for name in re.findall(r"--config\.([\w.]+\w)", (ROOT / page).read_text()):
        field = base_config()
        for part in name.split("."):
            assert part in field, f"{page} names --config.{name}"
            field = field[part]


def test_pages_link_to_files_that_exist():
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]:
        for link in re.findall(r"\]\(([^)#]+)", page.read_text()):
            if not link.startswith(("https:", "mailto:")):
                assert (page.parent / link).exists(), f"{page.name} points at {link}"
