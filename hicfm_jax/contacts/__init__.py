"""Hi-C files and contact maps."""

from hicfm_jax.contacts.contact_map import ContactMap
from hicfm_jax.contacts.readers import open_contacts
from hicfm_jax.contacts.simulate import simulate
from hicfm_jax.contacts.thinning import thin
from hicfm_jax.contacts.writers import write_contacts

__all__ = ["ContactMap", "open_contacts", "simulate", "thin", "write_contacts"]
