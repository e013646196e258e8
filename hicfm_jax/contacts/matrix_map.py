"""A ContactMap over matrices that only have a chromosome's name."""

from collections.abc import Mapping

import scipy.sparse

from hicfm_jax.contacts.chromsizes import check_bins, check_name
from hicfm_jax.contacts.contact_map import ContactMap, Pair
from hicfm_jax.contacts.sparse_arrays import Matrix, check_matrix, check_total, rectangle, upper_triangle
from hicfm_jax.errors import InputError


def map_of_matrices(
    path: str, matrices: Mapping[Pair, Matrix], resolution: int, chromsizes: Mapping[str, int] | None
) -> ContactMap:
    """Gives matrices a genome; each is folded to its upper triangle when asked for.

    Args:
      path: where they come from, for messages.
      matrices: `{(chrom1, chrom2): counts}`; cis ones symmetric or upper triangular. They may end with
        their last contact, before the chromosome does.
      resolution: bin width in bp.
      chromsizes: lengths in bp; without them a chromosome is as long as the bins of its largest matrix.

    Raises:
      InputError: what is no matrix, does not fit its chromosome, or is there twice; a chromosome without
        a length; when counts are asked for, a cis matrix that is neither symmetric nor upper triangular.
    """
    bins: dict[str, int] = {}
    for (chrom1, chrom2), matrix in matrices.items():
        check_name(chrom1, path)
        check_name(chrom2, path)
        where = _where(path, chrom1, chrom2)
        check_matrix(matrix, where)
        if chrom1 == chrom2 and matrix.shape[0] != matrix.shape[1]:
            raise InputError(f"{where} has shape {matrix.shape}, expected as many rows as columns.")
        if chrom1 != chrom2 and (chrom2, chrom1) in matrices:
            raise InputError(f"{where} is there in both orders: keep one.")
        for chrom, size in zip((chrom1, chrom2), matrix.shape, strict=True):
            bins[chrom] = max(bins.get(chrom, 0), size)
    if not bins:
        raise InputError(f"{path} holds no matrix: expected counts of one chromosome at least.")
    sizes = dict(chromsizes or {chrom: size * resolution for chrom, size in bins.items()})
    for chrom, size in bins.items():
        if chrom not in sizes:
            listed = ", ".join(list(sizes)[:10])[:200]
            raise InputError(f"{path}: chromsizes has no length of {chrom[:40]!r}, but of {listed}: add it.")
        expected = -(-sizes[chrom] // resolution)
        if size > expected:
            raise InputError(
                f"{_where(path, chrom, chrom)} has {size} bins, expected {expected} for {sizes[chrom]} bp at "
                f"{resolution} bp: check the resolution and the chromosome's length."
            )
    check_bins(sizes, resolution, path)

    def load(chrom1: str, chrom2: str) -> scipy.sparse.csr_array:
        if (chrom1, chrom2) in matrices:
            matrix = matrices[chrom1, chrom2]
        else:
            matrix = matrices[chrom2, chrom1].T
        where = _where(path, chrom1, chrom2)
        counts = upper_triangle(matrix, where) if chrom1 == chrom2 else rectangle(matrix)
        check_total(counts, where)
        counts.resize(contact_map.n_bins(chrom1), contact_map.n_bins(chrom2))
        return counts

    order = {chrom: number for number, chrom in enumerate(sizes)}
    pairs = [tuple(sorted(pair, key=order.get)) for pair in matrices]
    contact_map = ContactMap(sizes, resolution, load, path, pairs=lambda: pairs)
    return contact_map


def _where(path: str, chrom1: str, chrom2: str) -> str:
    return f"{path}, chromosome {chrom1[:40]}" + ("" if chrom1 == chrom2 else f" x {chrom2[:40]}")
