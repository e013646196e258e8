"""Reading the original's pickles: a dict of matrices by chromosome."""

import os
from collections.abc import Mapping

from hicfm_jax.contacts.chromsizes import need_resolution, read_chromsizes
from hicfm_jax.contacts.contact_map import ContactMap, Pair
from hicfm_jax.contacts.formats import safe_pickle
from hicfm_jax.contacts.formats.arrays import single_name
from hicfm_jax.contacts.formats.matrices import map_of_matrices
from hicfm_jax.errors import InputError


def open_pickle(
    path: str, resolution: int | None, chromsizes: Mapping[str, int] | str | os.PathLike | None = None
) -> ContactMap:
    """Opens a pickle of matrices, symmetric or upper triangular; runs nothing that it says.

    A pickle has to be read whole: all its matrices stay in memory.

    Args:
      path: the file. A dict `{chromosome: matrix}`, with trans matrices under `(chromosome, chromosome)`
        or, as the original's `hic2array` names them, `chromosome_chromosome`; or one matrix. Matrices are
        numpy arrays or scipy.sparse ones.
      resolution: bin width in bp.
      chromsizes: mapping or two-column file of lengths in bp; without it a chromosome ends with the last
        bin of its largest matrix. One matrix alone is named as `open_array` names one.

    Raises:
      InputError: a damaged pickle or one of other things, named; what is no contact map.
    """
    width = need_resolution(resolution, path)
    sizes = read_chromsizes(chromsizes)
    content = safe_pickle.load(path)
    if not isinstance(content, dict):
        name = single_name(path, sizes)
        return map_of_matrices(path, {(name, name): content}, width, sizes)
    names = set(sizes) if sizes else _names(content)
    matrices = {}
    for key, matrix in content.items():
        pair = _pair(key, names, path)
        if pair in matrices:
            raise InputError(f"{path} holds {pair[0][:40]} x {pair[1][:40]} twice: keep one.")
        matrices[pair] = matrix
    return map_of_matrices(path, matrices, width, sizes)


def _names(content: dict) -> set[str]:
    """The chromosomes: of `A_A` keys where there are any, else the plain keys, and those of pairs."""
    plain = [key for key in content if isinstance(key, str)]
    doubled = {
        key[: len(key) // 2] for key in plain if key[: len(key) // 2] + "_" == key[: len(key) // 2 + 1]
    }
    doubled = {name for name in doubled if f"{name}_{name}" in plain}
    return (doubled or set(plain)) | {name for key in content if isinstance(key, tuple) for name in key}


def _pair(key: object, names: set[str], path: str) -> Pair:
    if isinstance(key, tuple) and len(key) == 2 and all(isinstance(name, str) for name in key):
        return key
    if isinstance(key, str):
        cuts = [place for place, letter in enumerate(key) if letter == "_"]
        splits = [(key[:cut], key[cut + 1 :]) for cut in cuts]
        pairs = [pair for pair in splits if pair[0] in names and pair[1] in names]
        if len(pairs) == 1:
            return pairs[0]
        if not pairs and (key in names or not names):
            return key, key
    listed = ", ".join(sorted(map(str, names))[:10])[:200]
    raise InputError(
        f"{path} has a matrix called {str(key)[:80]!r}, expected a chromosome or a pair of {listed}: give "
        "chromsizes with all names."
    )
