"""The commands and Python snippets of the documentation run, on tiny maps and networks."""

import functools
import gzip
import io
import itertools
import os
import pathlib
import re
import shutil
import sys
from contextlib import redirect_stdout

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

from hicfm_jax.contacts import ContactMap, thin, write_cells, write_contacts
from hicfm_jax.contacts.annotations.loop_list import loop_table, write_bedpe
from hicfm_jax.contacts.annotations.tracks import write_bigwig, write_table
from tests.commands import PAGES, ROOT, commands_of, values_of
from tests.convert import made_up
from tests.infer.toy_networks import write_checkpoint
from tests.run_script import run_hicfm, run_script

SNIPPET = re.compile(r"^```python\n(.*?)^```", flags=re.DOTALL | re.MULTILINE)
NOTEBOOK = "docs/tutorials/colab.ipynb"

NOT_RUN = {
    "make": "starts minutes of training or of tests, which test_house.py checks by name",
    "scripts/train.py": "trains for minutes; tests/train trains a small network by each config",
    "hicfm train": "trains for minutes; tests/train trains a small network by each config",
    "scripts/experiment.py": "takes an hour; tests/experiment runs its stages",
    "hicfm experiment": "takes an hour; tests/experiment runs its stages",
    "scripts/simulate_map.py": "takes a minute; tests/contacts/test_simulate_script.py writes small maps",
    "scripts/benchmark.py": "measures large networks; tests of the benchmarks measure small ones",
    "scripts/benchmark_tiling.py": "measures for a minute; tests/tiles/test_tiling_benchmark.py a small map",
    "scripts/benchmark_gpu.py": "measures ViT-L; tests/train/test_gpu_ablation.py a small network",
    "scripts/benchmark_torch.py": "measures ViT-L; tests/train/test_step_benchmark.py a small network",
    "scripts/benchmark_species.py": "measures maps of several species",
    "scripts/benchmark_inference.py": "measures all tasks; tests/infer/test_inference_benchmark.py some",
    "scripts/benchmark_bfloat16.py": "trains for minutes; tests/train/test_precision.py takes four steps",
    "dask_workers.py": "needs SLURM",
    "benchmarks/loops.sh": "trains for minutes; the page has most of its commands",
    "scripts/convert_weights.py": "reads published files; tests/convert converts made-up ones",
    "pip": "installs from the internet",
    "venv": "installs from the internet",
    "source": "activates an environment",
    "clodius": "comes with HiGlass",
    "docker": "needs Docker",
    "apptainer": "needs Apptainer",
    "sbatch": "needs SLURM",
    "tensorboard": "serves until it is stopped",
    "pytest": "runs tests",
    "pre-commit": "changes the checkout",
    "git": "changes the checkout",
    "clone": "needs the internet",
    "-c": "shows the devices, or measures a permutation of 118 million",
    "nvidia-smi": "needs a GPU",
    "--help": "is tested in tests/programs/test_hicfm.py",
}
"""Words that keep a command from being run here, and why."""

SMALL, MIDDLE, LARGE = 78, 230, 400
"""Bins of 30 kb of a chromosome."""
WINDOW = (64, 64)
"""Of the checkpoints: few windows cover a map."""

# Maps by name: bins of 30 kb, bin width, fraction of the contacts.
MAPS = {
    "leaf.mcool": (SMALL, 10_000, 1.0),
    "deep.mcool": (SMALL, 10_000, 1.0),
    "planted.cool": (SMALL, 10_000, 1.0),
    "root.mcool": (SMALL, 10_000, 0.1),
    "shallow.mcool": (SMALL, 10_000, 0.1),
    "col0.mcool": (SMALL, 10_000, 1.0),
    "nipponbare.mcool": (SMALL, 10_000, 1.0),
    "b73.mcool": (SMALL, 10_000, 1.0),
    "rice.mcool": (SMALL, 10_000, 1.0),
    "maize.hic": (SMALL, 10_000, 1.0),
    "arabidopsis_col0_30kb.cool": (MIDDLE, 30_000, 1.0),
    "simulated.cool": (MIDDLE, 30_000, 1.0),
    **dict.fromkeys(["leaf.cool", "leaf1.cool", "leaf2.cool"], (SMALL, 30_000, 1.0)),
    **dict.fromkeys(["sim1.cool", "sim2.cool"], (SMALL, 30_000, 1.0)),
    **dict.fromkeys(["shallow.cool", "enhanced.cool"], (SMALL, 30_000, 0.1)),
}
OTHERS = {
    "README.md": {"root.mcool": (SMALL // 2, 10_000, 0.1, False, 1)},
    "docs/reference/commands.md": {"shallow.mcool": (SMALL // 2, 10_000, 0.1, False, 1)},
    "docs/how-to/reconstruction.md": {"leaf.mcool": (LARGE, 30_000, 1.0)},
    "docs/how-to/single_cell.md": {"leaf.mcool": (SMALL, 30_000, 1.0, False, 4)},
    "docs/how-to/viewers.md": {"root.mcool": (SMALL // 2, 10_000, 0.1, False, 1)},
    "docs/how-to/make_tiles.md": {"col0.mcool": (SMALL * 2, 10_000, 1.0)},
    "docs/how-to/loops.md": {"shallow.cool": (SMALL, 10_000, 0.1)},
    "docs/how-to/own_reads.md": {"root.mcool": (MIDDLE, 30_000, 0.1, False, 1)},
    "docs/how-to/inference.md": {
        "leaf.mcool": (SMALL // 2, 10_000, 1.0, True),
        "root.mcool": (SMALL // 2, 10_000, 0.1, True),
    },
}
"""Maps of a page that needs others than `MAPS`; also whether with trans contacts, and the chromosomes."""

CHECKPOINTS = {
    "runs/pretrain": "pretrain",
    "runs/enhance": "resolution",
    "runs/own": "resolution",
    "runs/experiment/enhance": "resolution",
    "runs/deeper": "resolution",
    "runs/loops": "loop",
    "runs/tracks": "epigenome",
    "runs/reproducibility": "reproducibility",
}


def _map(bins: int, resolution: int, kept: float, trans: bool = False, chromosomes: int = 5) -> ContactMap:
    rng, matrices = np.random.default_rng(0), {}
    n = bins * 30_000 // resolution
    distance = np.subtract.outer(np.arange(n), np.arange(n)).__abs__()
    for chrom in (f"Chr{number}" for number in range(1, chromosomes + 1)):
        counts = np.triu(rng.poisson(60 / (1 + distance) ** 0.8))
        matrices[chrom, chrom] = scipy.sparse.csr_array(counts)
    sizes = dict.fromkeys((chrom for chrom, _ in matrices), n * resolution)
    for pair in itertools.combinations(sizes, 2) if trans else ():
        matrices[pair] = scipy.sparse.csr_array(rng.poisson(0.3, (n, n)))
    deep = ContactMap(sizes, resolution, matrices, "deep")
    return deep if kept == 1 else thin(deep, kept, seed=1)


@pytest.fixture(scope="module")
def lists(tmp_path_factory):
    """Folder of the tracks, loops and cells that the pages name."""
    contact_map, folder = _map(SMALL, 10_000, 1.0), tmp_path_factory.mktemp("lists")
    rng = np.random.default_rng(0)
    names = ("genes", "te_fraction", "state_1", "state_2")
    track = {
        name: {chrom: rng.random(contact_map.n_bins(chrom)) for chrom in contact_map.chromsizes}
        for name in names
    }
    write_table(folder / "tracks.tsv", contact_map, track)
    for name in ("states.tsv.gz", "measured.tsv.gz"):
        (folder / name).write_bytes(gzip.compress((folder / "tracks.tsv").read_bytes()))
    for name in ("genes.bw", "rna.bw"):
        write_bigwig(folder / name, contact_map, track["genes"])
    table = pd.read_table(folder / "tracks.tsv").iloc[:, :4]
    table.to_csv(folder / "rna.bedGraph", sep="\t", header=False, index=False)
    loops = loop_table(contact_map, "Chr4", np.array([30]), np.array([60]))
    for name in ("deep_loops.bedpe", "planted.cool.bedpe"):
        write_bedpe(loops, folder / name)
    genes = [
        f"{chrom}\tTAIR10\tgene\t{start + 1}\t{start + 2_000}\t.\t+\t.\tID={start}\n"
        for chrom, length in contact_map.chromsizes.items()
        for start in range(0, length // 2, 20_000)
    ]
    (folder / "TAIR10_genes.gff").write_text("".join(genes))
    cell = thin(_map(SMALL, 30_000, 1.0, chromosomes=2), 0.02, seed=1)
    write_cells([(name, cell) for name in ("one", "two")], folder / "cells.scool")
    return folder


def _text(page: str) -> str:
    return (ROOT / page).read_text()


def _reason(words: list[str]) -> str:
    """Why a command is not run; "" if it is."""
    line = " ".join(words)
    hits = [why for word, why in NOT_RUN.items() if re.search(rf"(^|[\s/]){re.escape(word)}(\s|\b|$)", line)]
    return hits[0] if hits else ""


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """The file of a map (bins, bin width, fraction) in the format of a name, written once."""
    folder = tmp_path_factory.mktemp("maps")

    @functools.cache
    def write(kind: tuple, suffix: str) -> pathlib.Path:
        path = folder / f"{'_'.join(map(str, kind))}{suffix}"
        write_contacts(_map(*kind), path)
        return path

    return lambda kind, name: write(kind, pathlib.Path(name).suffix)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two functions: the folder of a checkpoint, and the file of published weights; each is written once."""
    folder = tmp_path_factory.mktemp("trained")

    @functools.cache
    def write(task: str, own: bool) -> pathlib.Path:
        about = {"total_counts": {"deep": 1e8}} if task == "resolution" else {}
        tracks = ("genes", "RNA") if task == "epigenome" else ()
        residual = "coverage" if task == "resolution" else "none"
        options = dict(dispersion=own, window=WINDOW)
        return write_checkpoint(folder / f"{task}{own}", task, residual, tracks, **options, **about)

    @functools.cache
    def publish(task: str) -> pathlib.Path:
        return made_up.save({"model": made_up.state_dict(task, size=(224, 224))}, folder, f"{task}.pth.tar")

    return write, publish


@pytest.fixture
def room(tmp_path, monkeypatch, request, stored, lists, trained, coarse_pictures):
    """A folder with what the pages take for granted, as far as the page names it."""
    page = request.node.callspec.params["page"]
    write, publish = trained
    text = _text(page)
    for name, kind in (MAPS | OTHERS.get(page, {})).items():
        if name in text:
            shutil.copyfile(stored(kind, name), tmp_path / name)
    for path, task in CHECKPOINTS.items():
        if path in text:
            shutil.copytree(write(task, path == "runs/own"), tmp_path / path)
    for name, task in {"pretrain": "pretrain", "schic": "single_cell"}.items():
        file = f"hicfoundation_{name}.pth.tar"
        if file in text:
            shutil.copyfile(publish(task), tmp_path / file)
    if re.search("tsv|bedpe|scool|gff", text):
        shutil.copytree(lists, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(ROOT)
    return tmp_path


@pytest.mark.slow  # some twenty pages
@pytest.mark.needs("tensorflow", "hictkpy", "pybigtools", "matplotlib", "torch")
@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_run(page, room):
    for words in commands_of(page):
        _run(words, room)


def _run(words: list[str], room) -> None:
    if _reason(words):
        return
    output = values_of(words).get("output")
    if words[:2] == ["hicfm", "enhance"]:
        output = words[3]
    if output:  # the page says that it is not there yet
        shutil.rmtree(room / output, ignore_errors=True)
        (room / output).unlink(missing_ok=True)
    # Workers import TensorFlow; tests/tiles/test_runners.py starts some.
    words = ["--processes=0" if word.startswith("--processes=") else word for word in words]
    if words[0] == "hicfm":
        ended = run_hicfm(*words[1:])
    else:
        scripts = [number for number, word in enumerate(words) if word.startswith("scripts/")]
        assert scripts, f"{words} is neither run nor in NOT_RUN"
        ended = run_script(words[scripts[0]].removeprefix("scripts/"), *words[scripts[0] + 1 :])
    assert ended.returncode == 0, f"{' '.join(words)}\n{ended.stderr}"
    assert output is None or (room / output).exists()


TINY = {
    "model.name": "vit_test",
    "model.input_size": "32,32",
    "model.pixel_width": 4,
    "model.pixel_depth": 1,
    "model.scan": True,
    "optim.trainable": "none",  # and so quickly compiled
    "optim.trainable_patterns": "decoder/norm/",
    "data.simulate.contacts": 1_000_000,
    "data.simulate.train_assays": 1,
    "data.simulate.val_assays": 1,
    "train.total_steps": 4,
    "train.global_batch_size": 4,
    "log.eval_every_steps": 4,
}
"""Settings with which the notebook trains in seconds."""


@pytest.mark.slow  # trains two networks and compiles for them, in processes of their own
@pytest.mark.needs("matplotlib", "nbclient", "ipykernel")
@pytest.mark.parametrize("page", [NOTEBOOK])
def test_the_notebook_runs(page, room, monkeypatch):
    """In a kernel, all but installing and simulating; networks are tiny, and a small map is there.

    A command that fails does not end a cell, but leaves no picture for the next.
    """
    import nbclient
    import nbformat

    shutil.rmtree(room / "runs")
    for name in ("shallow.cool", "enhanced.cool"):
        (room / name).unlink()
    for name in ("scripts", "configs"):
        (room / name).symlink_to(ROOT / name)
    monkeypatch.setenv("PATH", os.path.dirname(sys.executable), prepend=os.pathsep)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    tiny = " ".join(f"--config.{name}={value}" for name, value in TINY.items())
    book = nbformat.read(ROOT / page, as_version=4)
    for cell in book.cells:
        lines = [] if cell.id == "install" else cell.source.splitlines()
        lines = [line for line in lines if "simulate_map.py" not in line]
        cell.source = "\n".join(line.replace(" --workdir=", f" {tiny} --workdir=") for line in lines)
    client = nbclient.NotebookClient(book, timeout=400, resources={"metadata": {"path": str(room)}})
    client.execute()
    shown = [each.data for cell in book.cells for each in cell.get("outputs", ()) if "data" in each]
    assert ["image/png" in each for each in shown] == [True, True]


SNIPPETS = [page for page in PAGES if SNIPPET.search(_text(page))]


@pytest.mark.slow  # compiles a network for each page
@pytest.mark.needs("hictkpy", "pybigtools", "matplotlib", "torch")
@pytest.mark.parametrize("page", SNIPPETS)
def test_the_snippets_of_a_page_run(page, room):
    if "leaf.npz" in _text(page):
        table = np.zeros(2, [("chrom", "U4"), ("start", int)])
        np.savez(room / "leaf.npz", windows=np.zeros((2, 4)), windows_table=table)
    # What a snippet says in words: counts and images of the reader's own.
    given = {
        "counts": np.ones((1, 32, 32), np.float32),
        "images": np.ones((1, 224, 224, 3), np.float32),
        "total_count": np.full(1, 1e6, np.float32),
    }
    for snippet in SNIPPET.findall(_text(page)):
        with redirect_stdout(io.StringIO()):
            exec(compile(snippet, page, "exec"), given)


def test_every_reason_is_used():
    lines = [" ".join(words) for page in [*PAGES, NOTEBOOK] for words in commands_of(page)]
    for word in NOT_RUN:
        assert any(word in line for line in lines), word
