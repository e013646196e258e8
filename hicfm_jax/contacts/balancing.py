"""Balanced values from raw counts and a weight per bin."""

from collections.abc import Callable

import numpy as np
import scipy.sparse

from hicfm_jax.contacts.blocks import MapBlock
from hicfm_jax.contacts.contact_map import ContactMap
from hicfm_jax.errors import InputError

KINDS = ("multiplicative", "divisive")


def weight_kind_of(where: str, name: str, stated: str | None, given: str | None) -> str:
    """Whether counts are multiplied or divided by weights; never guessed from their values or name.

    Raises:
      InputError: what the file states and what the user gives contradict each other, are both None, or the
        latter is invalid.
    """
    if given is not None and given not in KINDS:
        raise InputError(f"weight_kind={given!r} is no kind of weight: choose {' or '.join(KINDS)}.")
    if stated is None and given is None:
        raise InputError(
            f"{where} does not state whether its weights {name!r} are multiplicative (as cooler's ICE) or "
            "divisive (as Juicer's KR and VC): give weight_kind."
        )
    if None not in (stated, given) and stated != given:
        raise InputError(
            f"{where} states that its weights {name!r} are {stated}, which contradicts "
            f"weight_kind={given!r}: leave weight_kind out."
        )
    return stated or given


def balance(raw: ContactMap, weights: Callable[[str], np.ndarray], kind: str, name: str) -> ContactMap:
    """The balanced map: each count times (or divided by) the weights of its two bins.

    Values are float64. Bins without a weight (NaN, infinite, or 0 to divide by) are empty in the result.
    A chromosome may have no weights at all, as unplaced scaffolds do.

    Args:
      raw: raw counts.
      weights: chromosome -> its weights, `[n_bins]` float.
      kind: one of `KINDS`.
      name: of the weights.

    Raises:
      InputError: no bin of the genome has a weight, or a chromosome has a wrong number of weights.
    """

    def factors(chrom: str) -> np.ndarray:
        values = np.asarray(weights(chrom), dtype=np.float64)
        if values.shape != (raw.n_bins(chrom),):
            raise InputError(
                f"{raw.name} has {values.size} weights {name!r} for chromosome {chrom}, expected one for "
                f"each of its {raw.n_bins(chrom)} bins: balance it again."
            )
        with np.errstate(divide="ignore"):
            return 1 / values if kind == "divisive" else values

    if not any(np.isfinite(factors(chrom)).any() for chrom in raw.chromsizes):
        raise InputError(
            f"{raw.name} has no valid weight in {name!r}: balancing it has failed; balance it again "
            "with other filters (cooler balance --force), name another weight, or read raw counts."
        )

    def load(block: MapBlock) -> scipy.sparse.csr_array:
        counts = raw.block(block).tocoo()
        rows, cols = (np.concatenate([factors(chrom) for chrom in chromosomes]) for chromosomes in block[:2])
        with np.errstate(over="ignore", invalid="ignore"):
            values = counts.data * rows[counts.row] * cols[counts.col]
        valid = np.isfinite(values)
        where = counts.row[valid], counts.col[valid]
        return scipy.sparse.coo_array((values[valid], where), counts.shape).tocsr()

    return raw.derived(load, f"{raw.name} ({name})")
