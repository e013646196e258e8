"""Hi-C files and contact maps."""

from hicfm_jax.contacts.cells import open_cells
from hicfm_jax.contacts.contact_map import ContactMap
from hicfm_jax.contacts.downsampling import thin
from hicfm_jax.contacts.formats import open_contacts, write_contacts
from hicfm_jax.contacts.formats.scool import write_cells
from hicfm_jax.contacts.simulation.simulate import simulate

__all__ = ["ContactMap", "open_cells", "open_contacts", "simulate", "thin", "write_cells", "write_contacts"]
