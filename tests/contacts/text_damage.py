"""Damage to what is written in letters: the numbers and words of headers and lines."""

import re

import numpy as np

VALUES = [
    b"99999999999999999999", b"9223372036854775807", b"2147483648", b"1099511627776", b"-1", b"0", b"1e9",
    b"nan", b"inf", b"0x10", b"", b"\xff\xfe", b"1.5", b"None",
    b"((((((((", "\N{ARABIC-INDIC DIGIT THREE}".encode(),
]  # fmt: skip


def other_word(data: bytes, rng: np.random.Generator) -> bytes:
    """A word or number becomes huge, negative, of another type, or changes places with another one."""
    words = list(re.finditer(rb"[A-Za-z0-9.]+", data[:100_000]))
    one, two = (words[number] for number in rng.integers(len(words), size=2))
    near_the_start = words[int(rng.integers(min(len(words), 20)))]
    one = near_the_start if rng.random() < 0.5 else one
    new = two[0] if rng.random() < 0.2 else VALUES[rng.integers(len(VALUES))]
    return data[: one.start()] + new + data[one.end() :]
