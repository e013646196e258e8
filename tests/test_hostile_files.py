"""Hostile and clumsy files and flags: each run ends well or with one sentence and status 2.

A case is made from its number alone, so that each can be repeated. There are 80 of each kind, one
or more of each recipe in the fast tests; HICFM_HOSTILE_CASES=FIRST:LAST chooses others for the slow ones.
"""

import gzip
import json
import os
import resource
import shutil

import h5py
import numpy as np
import pytest

from hicfm_jax.contacts import ContactMap, write_contacts
from hicfm_jax.tiles.dataset import FORMAT_VERSION
from tests.infer.toy_networks import SEEN, write_checkpoint
from tests.run_script import import_readers, run_script

SECRET = b"4242424242 not for reading 4242424242 "
MEMORY = 2 << 30  # bytes, of the processes that read

CHROMSIZES = {"Chr1": 60_000, "Chr2": 40_000}


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """Files of a small map by their suffixes."""
    folder, rng = tmp_path_factory.mktemp("good"), np.random.default_rng(0)
    held = {("Chr1", "Chr1"): np.triu(rng.poisson(2, (60, 60))), ("Chr2", "Chr2"): np.eye(40, dtype=int)}
    contact_map = ContactMap(CHROMSIZES, 1000, {pair: _sparse(counts) for pair, counts in held.items()})
    found = {}
    for suffix in (".cool", ".npz", ".pairs"):
        write_contacts(contact_map, folder / f"map{suffix}")
        found[suffix] = (folder / f"map{suffix}").read_bytes()
    return found


@pytest.fixture(scope="module")
def trained(good, tmp_path_factory):
    """The same, the folder of a checkpoint and that of tiles."""
    import_readers()
    folder = tmp_path_factory.mktemp("trained")
    (folder / "map.cool").write_bytes(good[".cool"])
    flags = f"--input={folder}/map.cool", f"--output={folder}/tiles", "--resolution=1000", "--tile_size=32"
    made = run_script("make_tiles.py", *flags, "--stride=16", "--min_density=0")
    assert made.returncode == 0, made.stderr
    assert run_script("convert_tiles.py", f"--input={folder}/tiles", f"--output={folder}/out").returncode == 0
    return {**good, "run": write_checkpoint(folder / "run", **SEEN), "tiles": folder / "tiles"}


def _sparse(counts):
    import scipy.sparse

    return scipy.sparse.csr_array(counts)


def thin(path, *flags, output="out.npz"):
    flags = flags if any(flag.startswith("--resolution") for flag in flags) else (*flags, "--resolution=1000")
    return "thin_map.py", f"--input={path}", "--fraction=1", f"--output={path.parent / output}", *flags


def damaged_file(rng, folder, good):
    """Bytes changed, cut off or exchanged, in any format."""
    suffix = rng.choice([".cool", ".npz", ".pairs"])
    data = bytearray(good[suffix])
    for _ in range(rng.integers(1, 20)):
        data[rng.integers(len(data))] = rng.integers(256)
    path = folder / f"map{suffix}"
    path.write_bytes(data[: rng.integers(len(data))] if rng.random() < 0.5 else data)
    return thin(path)


def strange_text(rng, folder, good):
    """Lines of numbers and words in any order, in text of any kind."""
    words = [
        "chr1",
        "chr2",
        "+",
        "-",
        "0",
        "16",
        "1e3",
        "nan",
        "'",
        '"',
        "\t",
        "!",
        ".",
        "",
        "𝄞",
        "-5",
        "x" * 300,
    ]

    def field():
        return str(rng.integers(50_000)) if rng.random() < 0.6 else rng.choice(words)

    rows = [[field() for _ in range(rng.integers(1, 12))] for _ in range(rng.integers(1, 60))]
    suffix = rng.choice([".txt", ".pairs", ".bg2", ".bedGraph", ".allValidPairs", ".matrix", ".txt.gz"])
    text = rng.choice(["\n", "\r\n", "\r"]).join(rng.choice(["\t", " ", ","]).join(row) for row in rows)
    data = text.encode(rng.choice(["utf-8", "utf-8-sig", "utf-16"]))
    path = folder / f"map{suffix}"
    path.write_bytes(gzip.compress(data) if suffix.endswith(".gz") else data)
    sizes = folder / "sizes"
    sizes.write_text("chr1 60000\nchr2 50000\n")
    return thin(path, *([f"--chromsizes={sizes}"] if rng.random() < 0.5 else []))


def other_file_inside(rng, folder, good):
    """HDF5 that takes its numbers from a file elsewhere."""
    path, secret = folder / "map.cool", folder.parent / "secret"
    path.write_bytes(good[".cool"])
    with h5py.File(path, "r+") as file:
        count = len(file["pixels/count"])
        kind = rng.integers(4)
        if kind == 0:
            del file["pixels/count"]
            file["pixels"].create_dataset("count", (count,), "int32", external=[(str(secret), 0, 4 * count)])
        elif kind == 1:
            del file["pixels/count"]
            layout = h5py.VirtualLayout((count,), "int32")
            layout[:] = h5py.VirtualSource(str(folder.parent / "other.h5"), "x", (count,))
            file["pixels"].create_virtual_dataset("count", layout)
        else:
            name = ["pixels", "pixels/count"][kind - 2]
            del file[name]
            file[name] = h5py.ExternalLink(str(folder.parent / "other.h5"), "/x")
    return thin(path)


def inflating_arrays(rng, folder, good):
    """An `.npz` of zeros, many times as large as its file."""
    path, size = folder / "map.npz", int(rng.integers(60, 90)) * 1_000_000
    zeros = np.broadcast_to(np.int32(0), size)
    arrays = {"name": "x", "resolution": 1000, "chromosomes": ["a"], "lengths": [5000], "pairs": [[0, 0]]}
    if rng.random() < 0.8:
        np.savez_compressed(
            path, **{name: np.array(value) for name, value in arrays.items()}, row_0_0=zeros[:9]
        )
    else:
        np.savez_compressed(path, **arrays, row_0_0=zeros, col_0_0=zeros, count_0_0=zeros)
    return thin(path)


def strange_names(rng, folder, good):
    """Chromosomes whose names are paths, lists, patterns or of no alphabet."""
    names = [
        "../../x",
        "a,b",
        "a:b|c",
        "染色体",
        "a b",
        "*",
        "-x",
        "=",
        "..",
        "x" * 250,
        "\u202e",
        "All",
        "'\"",
    ]
    chosen = rng.choice(names, 2, replace=False).tolist()
    path = folder / "map.npz"
    arrays = {"name": "x", "resolution": 1000, "chromosomes": chosen, "lengths": [30_000, 20_000]}
    pixels = {"pairs": [[0, 0]], "row_0_0": np.arange(9), "col_0_0": np.arange(9), "count_0_0": np.arange(9)}
    np.savez(path, **arrays, **pixels)
    if rng.random() < 0.3:
        flags = f"--input={path}", "--resolution=1000", "--tile_size=16", "--stride=16", "--dry_run"
        return "make_tiles.py", *flags, f"--val_chromosomes={chosen[1]}"
    suffix = rng.choice([".cool", ".mcool", ".hic", ".pairs", ".npz"])
    return thin(path, output=f"out{suffix}")


def strange_manifest(rng, folder, good):
    """A folder of tiles whose manifest leads out of it, is nested, huge or of other types."""
    split = {"tiles": 1, "chromosomes": [], "assays": {"a": 1}}
    manifest = {
        "format_version": FORMAT_VERSION, "context": None, "mode": "grid", "stride": 16,
        "tile_size": [16, 16], "dtype": "uint16", "targets": {}, "tracks": None, "mix": {},
        "splits": {"train": split}, "tiles": {},
    }  # fmt: skip
    changes = [
        {"splits": {str(folder.parent / "outside"): split}},
        {"splits": {"train": split | {"assays": {"../../outside": 1}}}},
        {"tile_size": [1_000_000, 1_000_000]},
        {"splits": []}, {"dtype": 5}, {"mix": {"a": -1}}, {"format_version": {}}, {"targets": {"map": [0]}},
    ]  # fmt: skip
    tiles = folder / "tiles"
    tiles.mkdir()
    text = json.dumps(manifest | changes[rng.integers(len(changes))])
    if rng.random() < 0.2:
        text = "[" * 100_000 + "]" * 100_000
    (tiles / "manifest.json").write_text(text)
    return "convert_tiles.py", f"--input={tiles}", f"--output={folder / 'out'}"


def clumsy_flags(rng, folder, good):
    """A good map with flags that do not fit."""
    path, pipe = folder / "map.cool", folder / "pipe"
    path.write_bytes(good[".cool"])
    os.mkfifo(pipe)
    wrong = [
        "--resolution=0", "--resolution=1500", "--fraction=nan", "--fraction=2", "--resolution=x",
        "--output=", "--output=/", f"--output={folder}", "--output=absent/out.cool", "--output=out.bam",
        "--input=", "--input=/dev/zero", f"--input={pipe}", f"--input={path}::/absent", "--input=absent.cool",
        f"--input={folder}", "--engine=none", "--chromsizes=/dev/zero", "--fraction", "extra", "--nope=1",
        "--input=" + "a" * 300 + ".cool", "--input=\0.cool", "--seed=-1",
    ]  # fmt: skip
    if rng.random() < 0.7:
        return thin(path, rng.choice(wrong))
    loci = rng.choice(["/dev/zero", str(pipe), str(folder), str(path)])
    flags = "--resolution=1000", "--tile_size=16", "--mode=locus", "--dry_run"
    return "make_tiles.py", f"--input={path}", *flags, f"--loci={loci}"


WRONG = [None, True, -1, 1e400, "x", "../../x", [], {}, [[]], {"x": {}}]  # in place of any JSON value


def damaged_folder(rng, folder, file):
    """Copies a folder and damages one of its files: bytes, length, JSON values, or all of it."""
    shutil.copytree(file, folder)
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    named = [path for path in paths if path.suffix == ".json" or "metadata" in path.name.lower()]
    path = rng.choice(named if rng.random() < 0.6 else paths)
    data, kind = bytearray(path.read_bytes()), rng.integers(5)
    if kind == 0:
        path.unlink()
    elif kind == 1:
        path.write_bytes(data[: rng.integers(len(data) + 1)])
    elif kind == 2 or path not in named:
        for _ in range(rng.integers(1, 20) if data else 0):
            data[rng.integers(len(data))] = rng.integers(256)
        path.write_bytes(data)
    elif kind == 3:
        path.write_text(rng.choice(["", "null", "[" * 100_000, '{"a":' * 100_000, "\0" * 99, "NaN"]))
    else:
        content = json.loads(data)
        if isinstance(content, dict):
            content.pop("digest", None)  # which would tell of any change
        change_value(rng, content)
        path.write_text(json.dumps(content))


def change_value(rng, content):
    """Puts a wrong value at a random place of a JSON value."""
    while isinstance(content, dict | list) and content:
        keys = list(content) if isinstance(content, dict) else range(len(content))
        key = keys[rng.integers(len(keys))]
        inner = content[key]
        if not (isinstance(inner, dict | list) and inner) or rng.random() < 0.3:
            content[key] = WRONG[rng.integers(len(WRONG))]
            return
        content = inner


def damaged_checkpoint(rng, folder, good):
    """A checkpoint with a damaged file, described, applied and exported."""
    run, path = folder / "run", folder / "map.cool"
    path.write_bytes(good[".cool"])
    damaged_folder(rng, run, good["run"])
    if rng.random() < 0.5:
        return "info.py", str(run)
    # A chromosome that the map lacks ends it before the network is compiled.
    flags = f"--input={path}", f"--checkpoint={run}", f"--output={folder / 'out.cool'}", "--chromosomes=none"
    return "infer.py", *flags, "--task=resolution"


def damaged_tiles(rng, folder, good):
    """A folder of tiles with a damaged file, described and converted."""
    tiles = folder / "tiles"
    damaged_folder(rng, tiles, good["tiles"])
    if rng.random() < 0.3:
        return "info.py", str(tiles)
    return "convert_tiles.py", f"--input={tiles}", f"--output={folder / 'out'}"


def clumsy_inference(rng, folder, good):
    """A good network and flags that do not fit."""
    path = folder / "map.cool"
    path.write_bytes(good[".cool"])
    wrong = [
        "--task=pretrain", "--task=loop", "--resolution=0", "--resolution=3000", "--chromosomes=Chr9",
        "--region=Chr1:5-x", "--region=Chr1:1M-9M", "--stride=0", "--stride=-1", "--bound=3",
        "--input_size=1,2,3", "--input_size=1600000,1600000", "--max_distance=-1", "--merge=none",
        f"--checkpoint={path}", "--checkpoint=absent", f"--checkpoint={good['run']}@best", "--nope",
        f"--checkpoint={good['run']}@99", "--output=absent/out.cool", "--output=out.bam", "--batch_size=0",
        f"--input={good['run']}", f"--input={good['tiles']}", "extra words", "--region=Chr1:9k-3k",
        f"--output={folder}", "--checkpoint=/dev/zero",
    ]  # fmt: skip
    flags = f"--input={path}", f"--checkpoint={good['run']}", f"--output={folder / 'out.cool'}"
    return "infer.py", *flags, "--chromosomes=Chr9", str(rng.choice(wrong))


def clumsy_evaluation(rng, folder, good):
    """Lists, tracks and maps that are none, and flags that do not fit."""
    path, text = (
        folder / "map.cool",
        folder / f"list{rng.choice(['.bedpe', '.tsv', '.bedGraph', '.bw', '.cool'])}",
    )
    path.write_bytes(good[".cool"])
    words = ["Chr1", "Chr9", "0", "1000", "-5", "1e3", "nan", "", "𝄞", "chrom1", "start1", "x" * 300]
    rows = ["\t".join(rng.choice(words, rng.integers(1, 9))) for _ in range(rng.integers(0, 20))]
    text.write_text("\n".join(rows))
    maps, reference, listed = f"--maps=a={path}", f"--reference={path}", f"--reference={text}"
    chosen = [
        [f"--loops=a={text}", listed], [f"--tracks=a={text}", listed], [f"--loops=a={folder}", listed],
        [f"--tracks=a={text}", listed, f"--input={path}"], [f"--maps=a={text}", reference], [maps, listed],
        [maps, reference, "--region=Chr1:1k-2k"], ["--maps=a", reference], ["--reproducibility=a,b"],
        [maps, reference, "--chromosomes=Chr1,Chr1"], [maps, reference, "--baselines_of=b"],
        [f"--reproducibility={path},{text}"], [maps, reference, "--max_diagonal=0"],
        [f"--tracks=a={path}", "--reference=/dev/zero"],
    ]  # fmt: skip
    return "evaluate.py", f"--output={folder / 'out'}", *chosen[rng.integers(len(chosen))]


NETWORKS = [damaged_checkpoint, damaged_tiles, clumsy_inference, clumsy_evaluation]

RECIPES = [
    *(damaged_file, strange_text, strange_text, other_file_inside, inflating_arrays),
    *(strange_names, strange_manifest, clumsy_flags, clumsy_flags),
]


FAST = 9  # cases of each kind in the fast tests


def run_case(case, folder, good, recipes):
    """Runs a case in its own folder; a text says what was wrong, or is empty."""
    rng = np.random.default_rng([21, case])
    sandbox, inside = folder / str(case), folder / str(case) / "inside"
    inside.mkdir(parents=True)
    (sandbox / "secret").write_bytes(SECRET * 5_000)
    with h5py.File(sandbox / "other.h5", "w") as file:
        file["x"] = np.frombuffer(SECRET * 1_000, "int32")[:5_000]
    recipe = recipes[case % len(recipes)]
    command = recipe(rng, inside, good)
    done = run_script(*command)
    lines = [line for line in done.stderr.splitlines() if not line.startswith("note: ")]
    what = (
        f"case {case}, {recipe.__name__}, {' '.join(command)[:300]}: {done.returncode}, {done.stderr[-300:]}"
    )
    if sorted(entry.name for entry in sandbox.iterdir()) != ["inside", "other.h5", "secret"]:
        return f"{what}: it wrote outside"
    if recipe is other_file_inside and done.returncode == 0:
        return f"{what}: it read another file"
    if done.returncode not in (0, 2) or "Traceback" in done.stderr:
        return what
    if done.returncode == 2 and (not lines or not lines[-1].startswith(("error: ", "FATAL"))):
        return f"{what}: no sentence"
    leftovers = [entry.name for entry in inside.iterdir() if entry.name.startswith(".")]
    return f"{what}: it left {leftovers}" if leftovers else ""


def check_cases(cases, folder, good, recipes=RECIPES):
    wrong, before = [], _most_memory()
    for case in cases:
        try:
            wrong += filter(None, [run_case(case, folder, good, recipes)])
        except Exception as error:
            wrong.append(f"case {case}, {recipes[case % len(recipes)].__name__}: {error!r:.300}")
    assert not wrong, f"{len(wrong)} of {len(cases)} runs:\n" + "\n".join(wrong)
    # Children of other tests of this process may have needed more.
    assert _most_memory() <= max(before, MEMORY)


def _most_memory() -> int:
    """Bytes of the largest process that this one started and that has ended."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss << 10


def test_some_hostile_and_clumsy_runs(tmp_path, good):
    check_cases(range(FAST), tmp_path, good)


@pytest.mark.needs("tensorflow", "cooltools")
def test_some_runs_with_networks_and_tiles(tmp_path, trained):
    check_cases(range(FAST), tmp_path, trained, NETWORKS)


def chosen_cases():
    first, _, last = os.environ.get("HICFM_HOSTILE_CASES", f"{FAST}:80").partition(":")
    return range(int(first), int(last))


@pytest.mark.slow  # 71 runs of scripts
@pytest.mark.needs("tensorflow", "cooltools")
def test_more_runs_with_networks_and_tiles(tmp_path, trained):
    check_cases(chosen_cases(), tmp_path, trained, NETWORKS)


@pytest.mark.slow  # 71 runs of scripts
def test_more_hostile_and_clumsy_runs(tmp_path, good):
    check_cases(chosen_cases(), tmp_path, good)
