"""Which contacts are kept when each is kept by itself: exact draws, many at once."""

import math

import numpy as np

_SHARE_BITS = 16  # shares are whole multiples of 2**-16
_LOWEST_BITS = np.array([2**bits - 1 for bits in range(65)], np.uint64)
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
    digits = round(share * 2**_SHARE_BITS)
    if digits == 1 << _SHARE_BITS:
        return counts.astype(np.int64)
    kept = np.zeros(len(counts), np.int64)
    large = np.flatnonzero(counts > _LARGE)
    if len(large):
        kept[large] = np.random.Generator(words).binomial(counts[large].astype(np.int64), share)
    pixels = np.flatnonzero((counts > 0) & (counts <= _LARGE))
    left = counts[pixels].astype(np.int64)
    while len(pixels):
        reads = _biased_words(len(pixels), digits, words)
        reads &= _LOWEST_BITS[np.minimum(left, 64)]
        kept[pixels] += np.bitwise_count(reads)
        more = left > 64
        pixels, left = pixels[more], left[more] - 64
    return kept


def _biased_words(count: int, digits: int, words: np.random.BitGenerator) -> np.ndarray:
    """Words whose bits are 1 with probability `digits / 2**16`, independently."""
    lowest = (digits & -digits).bit_length() - 1  # zeros at the end would only be "and"ed with 0
    biased = words.random_raw(count)
    for place in range(lowest + 1, _SHARE_BITS):
        word = words.random_raw(count)
        (np.bitwise_or if digits >> place & 1 else np.bitwise_and)(biased, word, out=biased)
    return biased
