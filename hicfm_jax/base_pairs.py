"""Lengths in bp as people write them, and flags that take them."""

import decimal
import re

from absl import flags

# Without a unit, 30.000 may be meant as thirty thousand, and is refused.
_NUMBER = r"(\d{1,3}(?:,\d{3})+|\d+)(\.\d+(?=e|\s*[km]))?(e\d)?"
_LENGTH = re.compile(rf"{_NUMBER}\s*([km]?)(?:bp?)?", flags=re.IGNORECASE)
_FACTORS = {"": 1, "k": 1_000, "m": 1_000_000}


def parse_base_pairs(text: str) -> int:
    """`30000`, `30,000`, `3e4`, `30k`, `30kb` or `0.03Mb` as 30000.

    Raises:
      ValueError: another text, or a fraction of a bp.
    """
    found = _LENGTH.fullmatch(text.strip())
    if found:
        number, fraction, power, unit = (part or "" for part in found.groups())
        value = decimal.Decimal(number.replace(",", "") + fraction + power) * _FACTORS[unit.lower()]
        if value == int(value):
            return int(value)
    raise ValueError(f"{text!r} is not a length in whole bp, such as 30000, 30,000, 30k, 30kb or 1Mb.")


class _BasePairs(flags.IntegerParser):
    def convert(self, argument: int | str) -> int:
        return parse_base_pairs(argument) if isinstance(argument, str) else super().convert(argument)


BASE_PAIRS = _BasePairs(lower_bound=1)
"""Parser of flags: `flags.DEFINE(BASE_PAIRS, "resolution", None, "Bin width in bp.")`."""
