"""Writes compartments as bigWig: eigenvectors of a map, oriented by the density of genes.

    hicfm compartments leaf.mcool compartments --genes=TAIR10_genes.gff --resolution=30000

DIR gets E1.bw, E2.bw and E3.bw, each with a positive rank correlation with the number of genes. GC content,
which orients them in animals, misleads in plants.
"""

from absl import flags

from hicfm_jax.base_pairs import BASE_PAIRS
from hicfm_jax.contacts import open_contacts
from hicfm_jax.contacts.reading_flags import reads_maps
from hicfm_jax.evaluate.compartment_tracks import compartment_tracks, read_gene_density, write_compartments
from hicfm_jax.evaluate.report import check_folder

_INPUT = flags.DEFINE_string("input", None, "Contact map of raw counts.", required=True)
_GENES = flags.DEFINE_string("genes", None, "GFF, GTF or BED file of genes, plain or .gz.", required=True)
_RESOLUTION = flags.DEFINE(BASE_PAIRS, "resolution", None, "Bin width in bp; default: the file's only one.")
_CHROMOSOMES = flags.DEFINE_list("chromosomes", None, "To write; default: all.")
_OUTPUT = flags.DEFINE_string("output", None, "Folder to write to.", required=True)


@reads_maps
def main() -> None:
    folder = check_folder(_OUTPUT.value)
    contact_map = open_contacts(_INPUT.value, _RESOLUTION.value)
    genes = read_gene_density(_GENES.value, contact_map)
    tracks, notes = compartment_tracks(contact_map, genes, _CHROMOSOMES.value)
    files = write_compartments(tracks, contact_map, folder)
    print("\n".join([*notes, f"Wrote {', '.join(map(str, files))}."]))
