"""The documentation is true: commands, config fields, extras, dependencies, links."""

import ast
import re
import sys

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.commands import BLOCK, PAGES, ROOT, check_command, check_config_fields, commands_of

# Import name -> distribution, where the two differ.
DISTRIBUTIONS = {
    "absl": "absl-py",
    "hicstraw": "hic-straw",
    "orbax": "orbax-checkpoint",
    "PIL": "pillow",
    "skimage": "scikit-image",
    "tensorflow": "tensorflow-cpu",
    "umap": "umap-learn",
}


def _names(requirements) -> set[str]:
    return {canonicalize_name(Requirement(requirement).name) for requirement in requirements}


def test_every_import_is_declared(setup_arguments):
    core = _names(setup_arguments["install_requires"])
    declared = core | {name for extra in setup_arguments["extras_require"].values() for name in _names(extra)}
    for path in [*(ROOT / "hicfm_jax").rglob("*.py"), *ROOT.glob("scripts/*.py"), *ROOT.glob("configs/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module] if isinstance(node, ast.ImportFrom) else []
            for library in {module.split(".")[0] for module in modules}:
                if library in sys.stdlib_module_names or library in {"hicfm_jax", "configs", "benchmarks"}:
                    continue
                name = canonicalize_name(DISTRIBUTIONS.get(library, library))
                assert name in declared, f"{path.name} imports {library}, setup.py does not list {name}"
                if {"models", "train", "configs"} & set(path.parts):
                    assert name in core, f"training needs {name}, which a plain install would not bring"


def test_build_page_explains_every_extra(setup_arguments):
    explained = set(re.findall(r"^\| `(\w+)` \|", (ROOT / "BUILD.md").read_text(), flags=re.MULTILINE))
    assert explained == set(setup_arguments["extras_require"])


def test_all_needs_neither_compiler_nor_accelerator(setup_arguments):
    extras = setup_arguments["extras_require"]
    elsewhere = {"all", "straw", "cuda", "tpu", "embedding"}  # the last would bring an older pandas
    everything = {name for extra in set(extras) - elsewhere for name in _names(extras[extra])}
    assert _names(extras["all"]) == everything


def test_a_release_has_its_section_in_the_changelog(setup_arguments):
    sections = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    assert sections[0] == "Unreleased"
    version = setup_arguments["version"]
    assert f"version: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert version.endswith(".dev0") or version == sections[1]


@pytest.mark.parametrize("page", PAGES)
def test_commands_on_the_pages_exist(page, setup_arguments):
    for words in commands_of(page):
        check_command(words, set(setup_arguments["extras_require"]))


@pytest.mark.parametrize("page", PAGES)
def test_no_command_is_outside_the_checked_blocks(page):
    text = re.sub(r"(?<!`)`[^`]+`(?!`)", "", BLOCK.sub("", (ROOT / page).read_text()))
    assert re.findall(r"^.*python3? .*scripts/.*$|^\s+scripts/.*$", text, flags=re.MULTILINE) == []


@pytest.mark.parametrize("page", PAGES)
def test_config_fields_on_the_pages_exist(page):
    check_config_fields(page)


def test_pages_link_to_files_that_exist():
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]:
        for link in re.findall(r"\]\(([^)#]+)", page.read_text()):
            if not link.startswith(("https:", "mailto:")):
                assert (page.parent / link).exists(), f"{page.name} points at {link}"


def test_code_names_pages_that_exist():
    folders = ("hicfm_jax", "scripts", "configs", "benchmarks", "tests")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    for path in [*files, *ROOT.glob("Dockerfile*")]:
        for page in re.findall(r"docs/[\w/-]+\.\w+", path.read_text()):
            assert (ROOT / page).exists(), f"{path.name} names {page}"
