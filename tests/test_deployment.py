"""Files of docs/ to run elsewhere: notebook, batch script, Dockerfiles."""

import ast
import json
import re
import shlex
import subprocess

import pytest

from tests.commands import (
    PAGES,
    ROOT,
    check_command,
    check_config_fields,
    check_extras,
    commands_of,
    values_of,
)

NOTEBOOK = "docs/tutorials/colab.ipynb"
BATCH_SCRIPT = "docs/how-to/slurm/pretrain.sbatch"
CONTAINERS = "docs/how-to/containers.md"
DOCKERFILES = ["Dockerfile", "Dockerfile.cuda"]
INSTRUCTIONS = {"FROM", "ENV", "RUN", "WORKDIR", "COPY", "USER", "ENTRYPOINT"}


@pytest.fixture
def extras(setup_arguments) -> set[str]:
    return set(setup_arguments["extras_require"])


def _instructions(name: str) -> list[tuple[str, str]]:
    """(INSTRUCTION, rest) of each line of a Dockerfile, continuation lines joined."""
    lines = (ROOT / name).read_text().replace("\\\n", " ").splitlines()
    return [tuple(line.split(maxsplit=1)) for line in lines if line.strip() and not line.startswith("#")]


def _copied(name: str) -> set[str]:
    """Files that a Dockerfile copies into the image, by their paths in the checkout."""
    return {source for word, rest in _instructions(name) if word == "COPY" for source in rest.split()[:-1]}


@pytest.mark.parametrize("name", [NOTEBOOK, BATCH_SCRIPT])
def test_commands_exist(name, extras):
    commands = commands_of(name)
    assert any("scripts/train.py" in words for words in commands)
    for words in commands:
        check_command(words, extras)
    check_config_fields(name)


@pytest.mark.parametrize("page", PAGES)
def test_tiles_that_a_page_trains_on_have_a_validation_split(page):
    held_out = {}
    for words in commands_of(page):
        values = values_of(words)
        if "scripts/make_tiles.py" in words:
            held_out[values.get("output")] = bool({"val_chromosomes", "val_assays"} & values.keys())
        for tiles in values.get("config.data.tiles", "").split(","):
            assert held_out.get(tiles, True), f"{page}: {tiles} has no validation split"


def test_notebook_is_a_notebook():
    notebook = json.loads((ROOT / NOTEBOOK).read_text())
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids) and all(re.fullmatch(r"[\w-]{1,64}", id) for id in ids)
    for cell in notebook["cells"]:
        fields = {"cell_type", "id", "metadata", "source"}
        if cell["cell_type"] == "code":
            fields |= {"execution_count", "outputs"}
            assert (cell["execution_count"], cell["outputs"]) == (None, []), (
                "the notebook was saved after a run"
            )
        assert cell.keys() == fields and cell["cell_type"] in ("code", "markdown")
        assert all(line.endswith("\n") for line in cell["source"][:-1])


def test_notebook_reads_only_what_its_cells_wrote():
    cells = [
        cell for cell in json.loads((ROOT / NOTEBOOK).read_text())["cells"] if cell["cell_type"] == "code"
    ]
    made = set()
    for cell in cells:
        code = "".join(cell["source"]).replace("\\\n", " ")
        for line in code.splitlines():
            words = shlex.split(line[1:]) if line.startswith("!") else []
            values = values_of(words)
            read = [values[flag] for flag in ("input", "checkpoint", "reference") if flag in values]
            read += [entry.split("=")[1] for entry in values.get("maps", "").split(",") if entry]
            assert set(read) <= made, f"{line} reads a file that no earlier cell wrote"
            made |= {values[flag] for flag in ("output", "workdir") if flag in values}
        # Magics are IPython's own; the rest has to be Python.
        python = "\n".join(line for line in code.splitlines() if not line.startswith(("!", "%")))
        strings = [node.value for node in ast.walk(ast.parse(python)) if isinstance(node, ast.Constant)]
        for path in (text for text in strings if "/" in text and "://" not in text):
            assert any(path.startswith(f"{folder}/") for folder in made), f"nothing writes {path}"


def test_batch_script_is_bash_and_requests_a_gpu_a_process():
    subprocess.run(["bash", "-n", str(ROOT / BATCH_SCRIPT)], check=True)
    text = (ROOT / BATCH_SCRIPT).read_text()
    requested = dict(re.findall(r"^#SBATCH --([\w-]+)=(\S+)$", text, flags=re.MULTILINE))
    assert text.count("#SBATCH") == len(requested)
    # SLURM stops reading its lines at the first command.
    assert text.rindex("#SBATCH") < text.index("\nset ")
    assert requested["ntasks-per-node"] == requested["gpus-per-node"]
    assert requested["mem"] == "0", "a cluster's default of memory is too little for a job of eight GPUs"
    assert requested["signal"].startswith("TERM@"), "the signal saves the run before its time limit"
    (command,) = [words for words in commands_of(BATCH_SCRIPT) if words[0] == "srun"]
    values = values_of(command)
    micro_batch = int(values["config.train.global_batch_size"]) // int(values["config.train.accum_steps"])
    assert micro_batch % (int(requested["nodes"]) * int(requested["gpus-per-node"])) == 0


@pytest.mark.parametrize("name", DOCKERFILES)
def test_dockerfile_holds_together(name, extras):
    instructions = _instructions(name)
    assert {word for word, _ in instructions} <= INSTRUCTIONS
    assert instructions[0][0] == "FROM" and instructions[-1][0] == "ENTRYPOINT"
    for source in _copied(name):
        assert (ROOT / source).exists(), f"{name} copies {source}"
    for word, rest in instructions:
        if word == "RUN":
            subprocess.run(["bash", "-n", "-c", rest], check=True)
            check_extras(rest, extras)
        if word == "ENV":
            assert all("=" in pair for pair in shlex.split(rest))
    # An editable install needs the package and what describes it to be there first.
    install = next(
        i for i, (word, rest) in enumerate(instructions) if word == "RUN" and "pip install" in rest
    )
    before = " ".join(rest for word, rest in instructions[:install] if word == "COPY").split()
    assert {"setup.py", "pyproject.toml", "hicfm_jax", "configs"} <= set(before)


@pytest.mark.parametrize("name", DOCKERFILES)
def test_dockerfile_follows_the_rules_of_a_linter(name):
    """The rules of hadolint that apply to these files."""
    instructions = _instructions(name)
    for word, rest in instructions:
        if word == "FROM":
            tag = re.fullmatch(r"[\w/.-]+:([\w.-]+)", rest)
            assert tag and re.search(r"\d", tag[1]), f"{rest} names no release"
        if word == "WORKDIR":
            assert rest.startswith("/")
        if word == "COPY":
            *sources, target = rest.split()
            assert len(sources) == 1 or target.endswith("/")
        if word == "RUN" and "apt-get" in rest:
            assert rest.startswith("apt-get update && apt-get install -y --no-install-recommends ")
            assert rest.endswith(" && rm -rf /var/lib/apt/lists/*")
        if word == "RUN" and "pip" in rest:
            assert "pip install --no-cache-dir " in rest
        assert not (word == "RUN" and re.search(r"\b(sudo|cd)\b", rest))
    users = [rest for word, rest in instructions if word == "USER"]
    assert users and re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[-1]), "the image would run as root"
    assert json.loads(dict(instructions)["ENTRYPOINT"]) == ["python"]


@pytest.mark.parametrize("name", DOCKERFILES)
def test_images_have_the_files_of_the_commands_on_their_page(name):
    words = [word.partition("=")[2] or word for words in commands_of(CONTAINERS) for word in words]
    named = {word.split("/")[0] for word in words if word.startswith(("scripts/", "configs/"))}
    assert named == {"scripts", "configs"}
    assert named <= _copied(name)


def test_the_page_builds_every_dockerfile():
    built = [words for words in commands_of(CONTAINERS) if words[:2] == ["docker", "build"]]
    files = [words[words.index("--file") + 1] if "--file" in words else "Dockerfile" for words in built]
    assert sorted(files) == DOCKERFILES == sorted(path.name for path in ROOT.glob("Dockerfile*"))
