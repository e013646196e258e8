"""Writes the map that a shallower experiment would have given: each contact is kept or dropped by itself.

    hicfm thin leaf.mcool shallow.cool --resolution=10000 --fraction=0.0625

With --rest it writes the contacts that the same command without it drops. It takes seconds, and the memory
of one chromosome.
"""

import fractions
import pathlib

from absl import flags

from hicfm_jax.base_pairs import BASE_PAIRS
from hicfm_jax.contacts import open_contacts, thin, write_contacts
from hicfm_jax.contacts.downsampling import rest
from hicfm_jax.contacts.formats import check_output, output_format
from hicfm_jax.contacts.reading_flags import reads_maps
from hicfm_jax.progress import doing
from hicfm_jax.storage import check_new_file


class _Fraction(flags.ArgumentParser):
    def parse(self, argument: float | str) -> float:
        try:
            return float(fractions.Fraction(argument))
        except (ValueError, ZeroDivisionError):
            raise ValueError(f"{argument!r} is not a fraction, such as 0.0625 or 1/16.") from None


_INPUT = flags.DEFINE_string("input", None, "Contact map of raw counts.", required=True)
_RESOLUTION = flags.DEFINE(BASE_PAIRS, "resolution", None, "Bin width in bp; default: the file's only one.")
_FRACTION = flags.DEFINE(_Fraction(), "fraction", 1 / 16, "Of the contacts to keep: 0.0625 or 1/16.")
_SEED = flags.DEFINE_integer("seed", 0, "Of the draws.", lower_bound=0)
_OUTPUT = flags.DEFINE_string("output", None, "File to write; its suffix says the format.", required=True)
_REST = flags.DEFINE_bool("rest", False, "Write the contacts that are dropped, in place of those kept.")


@reads_maps
def main() -> None:
    check_new_file(pathlib.Path(_OUTPUT.value))
    output_format(_OUTPUT.value)
    with doing(f"Reading {_INPUT.value}"):
        deep = open_contacts(_INPUT.value, _RESOLUTION.value)
    check_output(_OUTPUT.value, deep)
    shallow = thin(deep, _FRACTION.value, _SEED.value)
    metadata = {"thinned": {"input": _INPUT.value, "fraction": _FRACTION.value, "seed": _SEED.value}}
    if _REST.value:
        shallow = rest(deep, shallow)
    write_contacts(shallow, _OUTPUT.value, metadata=metadata)
    print(f"Wrote {_OUTPUT.value}: {shallow.total_count:,.0f} of {deep.total_count:,.0f} contacts.")
