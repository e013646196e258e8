"""Structure of the package: floors, heavy libraries, sizes of folders, unique names."""

import ast
import collections
import graphlib
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "hicfm_jax"

FLOORS = {
    "types": 0,
    "batch": 0,
    "errors": 0,
    "base_pairs": 0,
    "config": 0,
    "storage": 0,
    "progress": 0,
    "cli": 0,
    "interrupts": 0,
    "xla_flags": 0,
    "contacts": 1,
    "models": 1,
    "checkpoints": 2,
    "tiles": 2,
    "convert": 3,
    "evaluate": 3,
    "train": 4,
    "infer": 4,
    "experiment": 5,
    "programs": 6,
}

# Library -> the only places under hicfm_jax/ that may import it.
HOMES = {
    "tensorflow": "tiles/",
    "tensorflow_datasets": "tiles/",
    "apache_beam": "tiles/build/",
    "torch": "convert/torch_file.py",
    "cooler": "contacts/",
    "h5py": "contacts/",
    "hictkpy": "contacts/",
    "hicstraw": "contacts/",
    "pybigtools": "contacts/",
    "matplotlib": "evaluate/",
    "cooltools": "evaluate/",
    "skimage": "evaluate/",
}

# A machine without TensorFlow trains from arrays: these stay free of it inside its home.
WITHOUT_TENSORFLOW = {
    "tiles/__init__.py",
    "tiles/build/windows.py",
    "tiles/stream/memory.py",
    "tiles/stream/sampling.py",
}


def _name(path: pathlib.Path) -> str:
    """`hicfm_jax/models/vit.py` -> `hicfm_jax.models.vit`; a package is named as its folder."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def _imports(path: pathlib.Path) -> set[str]:
    """Every module a file imports, at the top, inside a function or by name."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write imports from the root, not relative ones"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else node.module for name in inner}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            found |= {str(arg.value) for arg in node.args[:1] if isinstance(arg, ast.Constant)}
    return found


def _place(module: str) -> str:
    """The name in FLOORS a module belongs to; the root `__init__` belongs to none."""
    return (module.split(".") + [""])[1]


def _scripts_and_configs() -> list[pathlib.Path]:
    folders = ("scripts", "configs", "hicfm_jax/programs")
    files = [path for folder in folders for path in sorted((ROOT / folder).glob("*.py"))]
    return [path for path in files if not path.name.startswith("__")]


def _text_files() -> list[pathlib.Path]:
    """Files a clone consists of, without asking git: an unpacked archive has none."""
    files = [path for path in ROOT.iterdir() if path.is_file() and path.name != ".git"]
    for folder in ("hicfm_jax", "scripts", "configs", "tests", "docs", ".ci"):
        files += (ROOT / folder).rglob("*")
    binary = {".png", ".npz", ".pyc"}
    return [path for path in files if path.is_file() and path.suffix not in binary]


def test_every_module_stands_on_a_floor():
    places = {_place(name) for name in MODULES} - {""}
    assert places <= set(FLOORS), "a new folder or file of hicfm_jax/ needs its floor here"


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_to_the_own_folder_or_downwards(module):
    place = _place(module)
    for imported in _imports(MODULES[module]):
        if not imported.startswith("hicfm_jax."):
            continue
        target = _place(imported)
        if not place:
            assert imported == "hicfm_jax.xla_flags", f"hicfm_jax/__init__.py stays light: no {imported}"
            continue
        if FLOORS[place] > 0 and target == place:
            continue
        upwards = FLOORS[target] > FLOORS[place]
        sideways = FLOORS[target] == FLOORS[place] > 0
        assert not upwards and not sideways, f"{module} (floor {FLOORS[place]}) imports {imported}"


def test_imports_make_no_circle():
    graph = {name: _imports(path) & set(MODULES) for name, path in MODULES.items()}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize("module", MODULES)
def test_heavy_libraries_stay_at_home(module):
    path = MODULES[module].relative_to(PACKAGE).as_posix()
    for library in {name.split(".")[0] for name in _imports(MODULES[module])} & set(HOMES):
        assert path.startswith(HOMES[library]), f"{path} imports {library}, whose home is {HOMES[library]}"
        assert not (library.startswith("tensorflow") and path in WITHOUT_TENSORFLOW), path


def test_contacts_know_no_jax_and_models_no_files():
    for module, path in MODULES.items():
        libraries = {name.split(".")[0] for name in _imports(path)} - set(sys.stdlib_module_names)
        if _place(module) == "contacts":
            assert not libraries & {"jax", "jaxlib", "flax", "optax", "orbax"}, module
        if _place(module) == "models":
            assert libraries <= {"hicfm_jax", "jax", "flax", "numpy"}, module


def test_importing_is_light_and_touches_no_device():
    """Models and training load on a machine that has JAX and nothing of the data side."""
    light = [
        name
        for name, path in MODULES.items()
        if _place(name) in {"models", "train"}
        or path.relative_to(PACKAGE).as_posix() in WITHOUT_TENSORFLOW
        or name == "hicfm_jax.config"
    ]
    program = f"""
import importlib, sys
for name in {light!r}:
    importlib.import_module(name)
print(sorted(set({sorted(HOMES)!r}) & set(sys.modules)))
from jax._src import xla_bridge
print(xla_bridge.backends_are_initialized())
"""
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == ["[]", "False"]


@pytest.mark.parametrize("path", _scripts_and_configs(), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_script_is_short(path):
    most = 150 if path.parent.name == "programs" else 100
    assert len(path.read_text().splitlines()) < most


@pytest.mark.parametrize("path", _scripts_and_configs(), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_scripts_and_configs_only_call_the_library(path):
    libraries = {name.split(".")[0] for name in _imports(path)} - set(sys.stdlib_module_names)
    assert libraries <= {"absl", "ml_collections", "hicfm_jax", "benchmarks"}


def test_every_folder_is_a_package_with_its_tests():
    for folder in {path.parent for path in MODULES.values()}:
        assert (folder / "__init__.py").is_file(), f"{folder.name} would be missing from an installation"
    folders = [path.parent for path in PACKAGE.glob("*/__init__.py") if path.parent.name != "config"]
    tested = {path.parent.name for path in (ROOT / "tests").glob("*/test_*.py")}
    assert {folder.name for folder in folders} <= tested
    assert tested <= set(FLOORS) | {"scripts", "configs"}


def test_a_folder_lists_at_most_14_files():
    listed = collections.Counter(path.parent.relative_to(ROOT).as_posix() for path in MODULES.values())
    assert not {folder: number for folder, number in listed.items() if number > 14}


def test_the_folders_of_the_tables_have_room():
    """What CONTRIBUTING explains how to add has to fit: its new file is at most the 14th of its folder."""
    contributing = (ROOT / "CONTRIBUTING.md").read_text()
    folders = re.findall(r"^\| \[.*\| `([\w/]+)/NAME\.py` \|", contributing, flags=re.MULTILINE)
    assert len(folders) >= 6
    for folder in folders:
        listed = list((PACKAGE / folder).glob("*.py"))
        assert len(listed) <= 13, f"{folder} is full: move what belongs together into a folder of its own"


def test_no_public_class_name_occurs_twice():
    defined = collections.defaultdict(list)
    for module, path in MODULES.items():
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                defined[node.name].append(module)
    assert not {name: modules for name, modules in defined.items() if len(modules) > 1}


def test_no_file_name_occurs_twice():
    names = collections.Counter(path.name for path in MODULES.values() if path.name != "__init__.py")
    assert not [name for name, number in names.items() if number > 1]


def test_names_say_what_is_inside():
    vague = {"utils", "util", "common", "helpers", "helper", "misc", "tools"}
    paths = [*MODULES.values(), *(ROOT / "tests").rglob("*.py"), *_scripts_and_configs()]
    assert not [path for path in paths if vague & {path.stem, path.parent.name}]


def test_no_path_of_somebodys_machine():
    machine_path = re.compile(r"(?<![\w.~/:-])/(?:home|root|work|tmp|Users|mnt)/\w")
    texts = {path.relative_to(ROOT): path.read_text(errors="ignore") for path in _text_files()}
    hits = [path for path, text in texts.items() if machine_path.search(text)]
    assert not hits
