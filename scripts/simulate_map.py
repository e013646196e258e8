"""Writes a simulated Arabidopsis contact map to a file: `.mcool`, `.cool`, `.hic`, `.pairs` or `.npz`.

python scripts/simulate_map.py --output=map.mcool --contacts=100e6 --resolution=10000 --seed=1
"""

from absl import flags

from hicfm_jax import cli
from hicfm_jax.contacts import simulate, write_contacts

_OUTPUT = flags.DEFINE_string("output", None, "File to write; its suffix says the format.", required=True)
_CONTACTS = flags.DEFINE_float("contacts", 100e6, "Expected contacts of the whole map.")
_RESOLUTION = flags.DEFINE_integer("resolution", 10_000, "Bin width in bp, 2000 or more.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the assay; the genome is the same for all seeds.")
_TRANS = flags.DEFINE_float("trans_fraction", 0.0, "Share of the contacts between chromosomes.")
_BALANCE = flags.DEFINE_bool("balance", False, "Also store ICE weights at each resolution; takes minutes.")


def main() -> None:
    contact_map = simulate(
        contacts=_CONTACTS.value,
        resolution=_RESOLUTION.value,
        seed=_SEED.value,
        trans_fraction=_TRANS.value,
    )
    resolutions = write_contacts(
        contact_map, _OUTPUT.value, balance=_BALANCE.value, metadata={"simulated": True, "seed": _SEED.value}
    )
    listed = ", ".join(map(str, resolutions))
    print(
        f"Wrote {_OUTPUT.value}: SIMULATED Arabidopsis data, not an experiment; "
        f"{contact_map.total_count:,.0f} contacts at {listed} bp, seed {_SEED.value}."
    )


if __name__ == "__main__":
    cli.run(main)
