"""Balancing: raw counts and one weight per bin in, balanced values out."""

from collections.abc import Callable

import numpy as np
import scipy.sparse

from hicfm_jax.contacts.contact_map import ContactMap
from hicfm_jax.errors import InputError

KINDS = ("multiplicative", "divisive")


def settle_kind(where: str, name: str, stated: str | None, given: str | None) -> str:
    """Whether weights are multiplied or divided by; never guessed from their values or their name.

    Args:
      where: file, for messages.
      name: the weights' name.
      stated: what the file or its format says: `multiplicative`, `divisive`, or None.
      given: what the user says.

    Raises:
      InputError: neither says it, they contradict each other, or the user's word is none of the two.
    """
    if given is not None and given not in KINDS:
        raise InputError(f"weight_kind={given!r} is no kind of weight: choose {' or '.join(KINDS)}.")
    if stated is None and given is None:
        raise InputError(
            f"{where} does not say whether its weights {name!r} are multiplicative (as cooler's ICE) or "
            "divisive (as Juicer's KR and VC): give weight_kind."
        )
    if None not in (stated, given) and stated != given:
        raise InputError(
            f"{where} says that its weights {name!r} are {stated}, weight_kind={given!r} says otherwise: "
            "leave weight_kind out."
        )
    return stated or given


def balance(raw: ContactMap, weights: Callable[[str], np.ndarray], kind: str, name: str) -> ContactMap:
    """The balanced map: each count times (or divided by) the weights of its two bins.

    Args:
      raw: raw counts.
      weights: chromosome -> its weights, `[n_bins]` float.
      kind: `multiplicative` or `divisive`.
      name: the weights' name.

    Returns:
      A ContactMap of float64 values. Bins without a weight (NaN, infinite, or 0 to divide by) hold none.
    """

    def factors(chrom: str) -> np.ndarray:
        held = np.asarray(weights(chrom), dtype=np.float64)
        if held.shape != (raw.n_bins(chrom),):
            raise InputError(
                f"{raw.name} has {held.size} weights {name!r} for chromosome {chrom}, expected one for each "
                f"of its {raw.n_bins(chrom)} bins: balance it anew."
            )
        with np.errstate(divide="ignore"):
            return 1 / held if kind == "divisive" else held

    def load(chrom1: str, chrom2: str) -> scipy.sparse.csr_array:
        counts = raw.matrix(chrom1, chrom2).tocoo()
        with np.errstate(over="ignore", invalid="ignore"):
            values = counts.data * factors(chrom1)[counts.row] * factors(chrom2)[counts.col]
        there = np.isfinite(values)
        where = counts.row[there], counts.col[there]
        return scipy.sparse.coo_array((values[there], where), counts.shape).tocsr()

    return ContactMap(
        raw.chromsizes,
        raw.resolution,
        load,
        f"{raw.name} ({name})",
        pairs=raw.pairs,
        metadata=raw.metadata,
    )
