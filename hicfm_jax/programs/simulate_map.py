"""Writes a simulated Arabidopsis contact map to a file: `.mcool`, `.cool`, `.hic`, `.pairs` or `.npz`.

    hicfm simulate map.mcool --contacts=100e6 --resolution=10000 --seed=1

With --loops, loops are added at random places, to the simulated map or to one of yours, and listed:

    hicfm simulate planted.mcool --input=leaf.mcool --resolution=10000 --loops=0.5
"""

import pathlib

from absl import flags

from hicfm_jax.base_pairs import BASE_PAIRS
from hicfm_jax.contacts import open_contacts, simulate, write_contacts
from hicfm_jax.contacts.annotations.loop_list import write_bedpe
from hicfm_jax.contacts.contact_map import SIMULATED
from hicfm_jax.contacts.reading_flags import reads_maps
from hicfm_jax.contacts.simulation.planted_loops import plant_loops, planted_table
from hicfm_jax.errors import InputError
from hicfm_jax.progress import doing
from hicfm_jax.storage import atomic_file, check_new_file

_OUTPUT = flags.DEFINE_string("output", None, "File to write; its suffix says the format.", required=True)
_CONTACTS = flags.DEFINE_float("contacts", 100e6, "Expected contacts of the whole map.")
_RESOLUTION = flags.DEFINE(BASE_PAIRS, "resolution", 10_000, "Bin width in bp, 2000 or more.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the assay; the genome is the same for all seeds.")
_TRANS = flags.DEFINE_float("trans_fraction", 0.0, "Share of the contacts between chromosomes.")
_LOOPS = flags.DEFINE_float(
    "loops",
    0.0,
    "Loops to add per Mb; their places and strengths are written to OUTPUT.bedpe.",
    lower_bound=0,
)
_INPUT = flags.DEFINE_string(
    "input", None, "With --loops: the map to add them to, in place of a simulated one."
)
_BALANCE = flags.DEFINE_bool("balance", False, "Also store ICE weights at each resolution; takes minutes.")


@reads_maps
def main() -> None:
    if _INPUT.value and not _LOOPS.value:
        raise InputError("--input needs --loops: give the loops per Mb to add to the map.")
    listed_loops = pathlib.Path(f"{_OUTPUT.value}.bedpe")
    if _LOOPS.value:
        check_new_file(listed_loops)
    if _INPUT.value:
        contact_map = open_contacts(_INPUT.value, _RESOLUTION.value)
    else:
        with doing("Simulating"):
            contact_map = simulate(
                contacts=_CONTACTS.value,
                resolution=_RESOLUTION.value,
                seed=_SEED.value,
                trans_fraction=_TRANS.value,
            )
    if _LOOPS.value:
        contact_map, loops = plant_loops(contact_map, _LOOPS.value, seed=_SEED.value)
    measured = _INPUT.value and contact_map.metadata.get(SIMULATED) is not True
    metadata = {SIMULATED: "loops" if measured else True, "seed": _SEED.value}
    resolutions = write_contacts(contact_map, _OUTPUT.value, balance=_BALANCE.value, metadata=metadata)
    listed = ", ".join(map(str, resolutions))
    if _LOOPS.value:
        with atomic_file(listed_loops) as partial:
            write_bedpe(planted_table(loops, contact_map), partial)
        print(f"Wrote {listed_loops}: {len(loops)} added loops.")
    kind = "SIMULATED LOOPS in a map" if _INPUT.value else "SIMULATED Arabidopsis data"
    print(
        f"Wrote {_OUTPUT.value}: {kind}, not an experiment; "
        f"{contact_map.total_count:,.0f} contacts at {listed} bp, seed {_SEED.value}."
    )
