"""Small simulated maps and their comparison."""

import pytest

from hicfm_jax.contacts import ContactMap, simulate, thin, write_contacts
from hicfm_jax.evaluate import compare
from hicfm_jax.evaluate.report import figures, zoomable


@pytest.fixture(scope="session")
def deep():
    return simulate(contacts=30e6, resolution=60_000, seed=1, chromosomes=["Chr3", "Chr4"])


@pytest.fixture(scope="session")
def shallow(deep):
    return thin(deep, 1 / 16, seed=0)


@pytest.fixture(scope="session")
def comparison(deep, shallow):
    """On Chr4: the shallow map, the reference itself, three times the reference, and the baselines."""
    tripled = {(chrom, chrom): deep.matrix(chrom) * 3 for chrom in deep.chromsizes}
    maps = {"input": shallow, "same": deep, "scaled": ContactMap(deep.chromsizes, deep.resolution, tripled)}
    return compare(maps, deep, ["4"], baselines_of="input", tune_chromosomes=["Chr3"])


@pytest.fixture(scope="session")
def files(deep, shallow, tmp_path_factory):
    """Folder of `deep.cool`, `shallow.mcool`, and `leak.cool` of a model that was trained on Chr4."""
    folder = tmp_path_factory.mktemp("maps")
    write_contacts(deep, folder / "deep.cool")
    write_contacts(shallow, folder / "shallow.mcool")
    enhancement = {"trained_on": {"leaf": ["chr4"]}, "validated_on": {}}
    write_contacts(deep, folder / "leak.cool", metadata={"enhancement": enhancement})
    return folder


@pytest.fixture
def undrawn(monkeypatch):
    """Figures are left out: drawing takes seconds, and one test draws a whole report."""
    for name in ("draw_zooms", "draw_curves"):
        monkeypatch.setattr(figures, name, lambda *_: None)
    monkeypatch.setattr(zoomable, "draw_zoomable", lambda *_: "")
    monkeypatch.setattr(figures, "png", lambda figure: b"")
