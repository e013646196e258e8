"""Judges an enhanced map by contacts that were set aside before anything was fitted.

    hicfm certify enhanced.mcool fitted.cool held_out.cool DIR --resolution=10000

`thin_map.py --rest` splits a map into the two; training and infer.py take the fitted one. DIR gets
certificate.json and report.html.
"""

from absl import flags

from hicfm_jax.contacts import open_contacts
from hicfm_jax.evaluate.certificate import certify, write_certificate
from hicfm_jax.evaluate.report import check_folder

_ENHANCED = flags.DEFINE_string("enhanced", None, "Cooler of infer.py --task=resolution.", required=True)
_FITTED = flags.DEFINE_string("fitted", None, "Map that it was made from.", required=True)
_HELD_OUT = flags.DEFINE_string("held_out", None, "The contacts that were set aside.", required=True)
_RESOLUTION = flags.DEFINE_integer("resolution", None, "Bin width in bp; default: the file's only one.")
_OUTPUT = flags.DEFINE_string("output", None, "Folder to write to.", required=True)


def main() -> None:
    from hicfm_jax.evaluate.report.certificate_page import write_page

    folder = check_folder(_OUTPUT.value)
    folder.mkdir(parents=True, exist_ok=True)
    uris = (_ENHANCED.value, _FITTED.value, _HELD_OUT.value)
    enhanced, fitted, held_out = (open_contacts(uri, _RESOLUTION.value) for uri in uris)
    certificate = certify(enhanced, fitted, held_out)
    page = write_page(certificate, enhanced, folder)
    path = write_certificate(certificate, folder)
    print(f"{certificate['verdict']}\nWrote {path} and {page}.")
