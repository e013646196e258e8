"""Damaged `.cool` and `.hic` files give one sentence or a valid map."""

import h5py
import numpy as np
import pytest

from tests.contacts.fuzzing import CASES, COMMON, survives


def wrong_tables(data, rng, folder):
    """A well-formed HDF5 file in which one table or attribute is not what it should be."""
    path = folder / "mutated.cool"
    path.write_bytes(data)
    with h5py.File(path, "r+") as file:
        names = []
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        name = names[rng.integers(len(names))]
        held = file[name][:]
        replacements = [
            None,
            held[: rng.integers(len(held))],
            np.concatenate([held, held]),
            np.full(len(held), [np.nan, -1, 1e300][rng.integers(3)]),
            np.full(len(held), 2**62),
            np.array([b"text"] * len(held)),
            np.zeros((len(held), 2), dtype=np.int32),
        ]
        choice = rng.integers(len(replacements) + 1)
        if choice == len(replacements):
            file.attrs["bin-size"] = [-1, 0, 2**62, 1500, "many"][rng.integers(5)]
        else:
            del file[name]
            if replacements[choice] is not None:
                file[name] = replacements[choice]
    return path.read_bytes()


@pytest.mark.slow  # each damaged file is read in a new process
def test_cool(cool, tmp_path):
    mutations = (*COMMON, lambda data, rng: wrong_tables(data, rng, tmp_path))
    outcomes = survives(cool[0], cases=CASES // 2, mutations=mutations)
    assert outcomes["error"] > outcomes.total() / 2, "most damage should be noticed"


# Each file starts a process; with straw it passes through hictk's checks first, so still fewer files.
_HICTK = pytest.param("hictk", CASES // 3, id="hictk")
_STRAW = pytest.param("straw", CASES // 10, marks=pytest.mark.needs("hicstraw"), id="straw")


@pytest.mark.slow  # each damaged file is read in a new process
@pytest.mark.needs("hictkpy")
@pytest.mark.parametrize(("engine", "cases"), [_HICTK, _STRAW])
def test_hic(hic, engine, cases):
    outcomes = survives(hic[0], cases=cases, options={"engine": engine, "resolution": 2000})
    assert outcomes["error"] > outcomes.total() / 2, "most damage should be noticed"
