"""Which contacts are kept when each is kept by itself: exact draws, many at once."""

import math

import numpy as np

_SHARE_BITS = 16  # shares are whole multiples of 2**-16
_LARGE = 256  # counts above it are drawn by numpy's binomial: slower for small, faster for large ones


def log_uniform(low: float, high: float, word: int) -> float:
    """The share in [low, high] that a random 64-bit word stands for, a multiple of 2**-16.

    Within a range it has four binary digits, because every digit takes another random word a read.
    """
    share = low * (high / low) ** ((word >> 11) / 2**53)
    step = 2.0 ** max(math.floor(math.log2(share)) - 3, -_SHARE_BITS)
    share = min(max(round(share / step) * step, low), high)
    return max(1, round(share * 2**_SHARE_BITS)) / 2**_SHARE_BITS


def binomial(counts: np.ndarray, share: float, words: np.random.BitGenerator) -> np.ndarray:
    """Exact binomial draws `[N]` int64 of `counts` trials each.

    A read is a bit: combining random words by the binary digits of `share` sets each bit with that
    probability, and counting bits is several times faster than drawing one number at a time.
    """
    counts = counts.astype(np.int64)
    digits = round(share * 2**_SHARE_BITS)
    if digits == 1 << _SHARE_BITS:
        return counts
    kept = np.zeros(len(counts), np.int64)
    large = np.flatnonzero(counts > _LARGE)
    if len(large):
        kept[large] = np.random.Generator(words).binomial(counts[large], share)
    pixels = np.flatnonzero((counts > 0) & (counts <= _LARGE))
    left = counts[pixels]
    while len(pixels):
        reads = np.uint64(2**64 - 1) >> (64 - np.minimum(left, 64)).astype(np.uint64)
        kept[pixels] += np.bitwise_count(_biased_words(len(pixels), digits, words) & reads)
        more = left > 64
        pixels, left = pixels[more], left[more] - 64
    return kept


def _biased_words(count: int, digits: int, words: np.random.BitGenerator) -> np.ndarray:
    """Words whose bits are 1 with probability `digits / 2**16`, independently."""
    lowest = (digits & -digits).bit_length() - 1  # zeros at the end would only be "and"ed with 0
    biased = words.random_raw(count)
    for place in range(lowest + 1, _SHARE_BITS):
        word = words.random_raw(count)
        biased = biased | word if digits >> place & 1 else biased & word
    return biased
