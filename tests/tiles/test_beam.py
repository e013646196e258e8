"""Builds by Apache Beam: the same bytes as without it."""

import sys

import pytest

from hicfm_jax.contacts import write_contacts
from hicfm_jax.errors import InputError
from hicfm_jax.progress import NullProgress
from hicfm_jax.tiles.build import builder, runners
from hicfm_jax.tiles.build.map_file import MapFile
from tests.tiles.toy_maps import dense_to_map, random_matrix


@pytest.fixture
def source(tmp_path):
    matrices = {"A": random_matrix(150, 0), "B": random_matrix(100, 1)}
    write_contacts(dense_to_map(matrices), tmp_path / "leaf.cool")
    return {"leaf": MapFile(str(tmp_path / "leaf.cool"), 1000)}


# Imports Beam and starts its DirectRunner, 5 s.
@pytest.mark.slow
@pytest.mark.needs("apache_beam")
def test_beam_writes_the_bytes_of_the_local_loop(source, tmp_path, monkeypatch):
    monkeypatch.setattr(builder, "PIECE_WINDOWS", 8)
    settings = dict(tile_size=32, stride=16, held_out=builder.HeldOut(val_chromosomes=["B"]))
    builder.build_tiles(source, tmp_path / "here", **settings)

    def interrupted(job, pieces, progress):
        builder.run_here(job, pieces[:2], progress)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        builder.build_tiles(source, tmp_path / "beam", **settings, runner=interrupted)
    seen = []

    class Counting(NullProgress):
        def advance(self, windows, where=""):
            seen.append(windows)

    builder.build_tiles(
        source, tmp_path / "beam", **settings, runner=runners.beam_runner(), progress=Counting()
    )
    assert seen[0] == 16 and seen[1] > 8  # what the local loop had finished was taken over
    here, there = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("here", "beam")
    )
    assert here == there and len(here) > 8


@pytest.mark.slow
@pytest.mark.needs("apache_beam")
def test_a_workers_mistake_is_one_sentence(source, tmp_path):
    run = runners.beam_runner()

    def lose_the_map(job, pieces, progress):
        (tmp_path / "leaf.cool").unlink()
        run(job, pieces, progress)

    with pytest.raises(InputError, match="A Beam worker failed: .*leaf.cool does not exist"):
        builder.build_tiles(source, tmp_path / "tiles", tile_size=32, stride=16, runner=lose_the_map)
    assert not (tmp_path / "tiles").exists()


def test_without_beam_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(InputError, match=r"apache_beam.*\.\[beam\]"):
        runners.beam_runner()
