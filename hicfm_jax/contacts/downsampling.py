"""Downsampling of contact maps by binomial thinning."""

import zlib

import numpy as np
import scipy.sparse

from hicfm_jax.contacts.blocks import MapBlock, pixels_by_pair
from hicfm_jax.contacts.contact_map import ContactMap
from hicfm_jax.errors import InputError


def thin(contact_map: ContactMap, fraction: float, seed: int) -> ContactMap:
    """Keeps each contact with probability `fraction`, independently of all others.

    What is drawn for a chromosome pair depends on the seed and the names of the pair only.

    Args:
      contact_map: a map of whole counts.
      fraction: of the contacts to keep, above 0 and at most 1.
      seed: 0 or more.

    Raises:
      InputError: a fraction or seed out of range, or (when a matrix is requested) counts that are not whole.
    """
    if not 0 < fraction <= 1:
        raise InputError(
            f"fraction={fraction} of the contacts cannot be kept: give a value above 0, at most 1."
        )
    if seed != int(seed) or seed < 0:
        raise InputError(f"seed={seed} is no seed: give a whole number of 0 or more.")

    def load(block: MapBlock) -> scipy.sparse.csr_array:
        deep = contact_map.block(block)
        if not np.issubdtype(deep.dtype, np.integer):
            raise InputError(
                f"{contact_map.name}, {block}, has counts that are not whole: "
                "thinning needs raw counts, not balanced or averaged ones."
            )
        kept = np.empty_like(deep.data)
        for pair, places in pixels_by_pair(deep, block, contact_map.bins):
            rng = np.random.default_rng([int(seed), zlib.crc32("\t".join(pair).encode())])
            kept[places] = rng.binomial(deep.data[places], fraction)
        thinned = scipy.sparse.csr_array((kept, deep.indices.copy(), deep.indptr.copy()), deep.shape)
        thinned.eliminate_zeros()
        return thinned

    return contact_map.derived(load)


def rest(contact_map: ContactMap, kept: ContactMap) -> ContactMap:
    """The contacts of a map that are not in `kept`, its result of `thin`; both are loaded when requested."""

    def load(block: MapBlock) -> scipy.sparse.csr_array:
        dropped = scipy.sparse.csr_array(contact_map.block(block) - kept.block(block))
        dropped.eliminate_zeros()
        return dropped

    return contact_map.derived(load)
