"""Builds by worker processes and by Apache Beam: the same bytes as in one process."""

import sys

import pytest

from hicfm_jax.contacts import write_contacts
from hicfm_jax.errors import InputError
from hicfm_jax.progress import NullProgress
from hicfm_jax.tiles.build import builder, runners
from hicfm_jax.tiles.build.map_file import MapFile
from hicfm_jax.tiles.build.splits import HeldOut
from tests.tiles import killing_file
from tests.tiles.toy_maps import dense_to_map, random_matrix

SETTINGS = dict(tile_size=32, stride=16, held_out=HeldOut(val_chromosomes=["B"]))


class Recording(NullProgress):
    """Keeps what it is shown."""

    def __init__(self):
        self.advances, self.lines = [], []

    def advance(self, windows, where=""):
        self.advances.append(windows)

    def say(self, line):
        self.lines.append(line)


@pytest.fixture
def paths(tmp_path, monkeypatch):
    """Two map files; pieces are small."""
    monkeypatch.setattr(builder, "PIECE_WINDOWS", 8)
    for name, seed in (("leaf", 0), ("root", 5)):
        matrices = {"A": random_matrix(150, seed), "B": random_matrix(100, seed + 1)}
        write_contacts(dense_to_map(matrices), tmp_path / f"{name}.cool")
    return {name: str(tmp_path / f"{name}.cool") for name in ("leaf", "root")}


@pytest.fixture
def sources(paths):
    return {name: MapFile(path, 1000) for name, path in paths.items()}


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def interrupted(job, pieces, progress):
    runners.run_here(job, pieces[:2], progress)
    raise KeyboardInterrupt


@pytest.mark.slow  # imports Beam and starts its DirectRunner
@pytest.mark.needs("apache_beam")
def test_beam_writes_the_same_bytes(sources, tmp_path):
    builder.build_tiles(sources, tmp_path / "here", **SETTINGS)
    with pytest.raises(KeyboardInterrupt):
        builder.build_tiles(sources, tmp_path / "beam", **SETTINGS, runner=interrupted)
    assert_continues(sources, tmp_path, "beam", runners.beam_runner(), before=16)


def assert_continues(sources, folder, name, runner, before):
    """Finishes an interrupted build, of which some windows are done: the same bytes, all windows told of."""
    progress, whole = Recording(), Recording()
    builder.build_tiles(sources, folder / name, **SETTINGS, runner=runner, progress=progress)
    assert progress.lines[0].startswith("Continuing: ")
    assert progress.advances[0] == before  # the pieces of the interrupted build
    expected = content(folder / "here")
    assert content(folder / name) == expected and len(expected) > 12
    builder.build_tiles(sources, folder / "again", **SETTINGS, progress=whole)
    assert sum(progress.advances) == sum(whole.advances)


@pytest.mark.slow  # starts three processes
def test_a_killed_process_is_one_sentence_and_the_next_call_continues(paths, sources, tmp_path):
    builder.build_tiles(sources, tmp_path / "here", **SETTINGS)
    (tmp_path / "kill").touch()
    killing = {
        "leaf": killing_file.KillingFile(paths["leaf"], 1000),
        "root": killing_file.KillingFile(paths["root"], 1000, kill=str(tmp_path / "kill")),
    }
    with pytest.raises(InputError, match="worker process was killed, .* with fewer --processes"):
        builder.build_tiles(killing, tmp_path / "tiles", **SETTINGS, runner=runners.process_runner(1))
    assert not (tmp_path / "tiles").exists()
    (tmp_path / "kill").unlink()
    assert_continues(killing, tmp_path, "tiles", runners.process_runner(2), before=40)


@pytest.mark.slow  # imports Beam, and starts a scheduler and workers that import it too
@pytest.mark.needs("apache_beam", "distributed")
def test_workers_of_dask_write_the_same_bytes_though_one_is_killed(paths, sources, tmp_path):
    import distributed

    builder.build_tiles(sources, tmp_path / "here", **SETTINGS)
    (tmp_path / "kill").touch()
    killing = {
        name: killing_file.KillingFile(path, 1000, kill=str(tmp_path / "kill"), once=True)
        for name, path in paths.items()
    }
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        options = [
            "--runner=apache_beam.runners.dask.dask_runner.DaskRunner",
            f"--dask_client_address={cluster.scheduler_address}",
            "--dask_partition_size=1",
        ]
        builder.build_tiles(killing, tmp_path / "dask", **SETTINGS, runner=runners.beam_runner(options))
        distributed.default_client().close()
    assert not (tmp_path / "kill").exists()
    assert content(tmp_path / "dask") == content(tmp_path / "here")


@pytest.mark.slow  # imports Beam
@pytest.mark.needs("apache_beam")
def test_a_mistake_of_a_beam_worker_is_one_sentence(sources, tmp_path):
    run = runners.beam_runner()

    def lose_the_map(job, pieces, progress):
        (tmp_path / "leaf.cool").unlink()
        run(job, pieces, progress)

    with pytest.raises(InputError, match="leaf.cool does not exist"):
        builder.build_tiles(sources, tmp_path / "tiles", **SETTINGS, runner=lose_the_map)
    assert not (tmp_path / "tiles").exists()


def test_without_beam_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(InputError, match=r"apache_beam.*hicfm_jax\[beam\]"):
        runners.beam_runner()
