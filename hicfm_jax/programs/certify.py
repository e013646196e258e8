"""Judges an enhanced map by contacts that were set aside before anything was fitted.

    hicfm certify enhanced.mcool fitted.cool held_out.cool DIR --resolution=10000

`hicfm thin --rest` splits a map into the two; training and enhancement take the fitted one. DIR gets
certificate.json and report.html, of several enhanced maps those of the one that predicts the contacts best.
"""

import shutil

from absl import flags

from hicfm_jax.base_pairs import BASE_PAIRS
from hicfm_jax.contacts import open_contacts
from hicfm_jax.errors import InputError
from hicfm_jax.evaluate.certificate import certify, total_deviance, write_certificate
from hicfm_jax.evaluate.report import check_folder
from hicfm_jax.storage import atomic_file

_ENHANCED = flags.DEFINE_list("enhanced", None, "Coolers of hicfm enhance.", required=True)
_BEST = flags.DEFINE_string("best", None, "Copy the best of them to this file.")
_FITTED = flags.DEFINE_string("fitted", None, "Map that it was made from.", required=True)
_HELD_OUT = flags.DEFINE_string("held_out", None, "The contacts that were set aside.", required=True)
_RESOLUTION = flags.DEFINE(BASE_PAIRS, "resolution", None, "Bin width in bp; default: the fitted map's.")
_OUTPUT = flags.DEFINE_string("output", None, "Folder to write to.", required=True)


def main() -> None:
    from hicfm_jax.evaluate.report.certificate_page import write_page

    folder = check_folder(_OUTPUT.value)
    folder.mkdir(parents=True, exist_ok=True)
    uris = (_FITTED.value, _HELD_OUT.value, *_ENHANCED.value)
    if len(set(uris)) < len(uris):
        raise InputError("Two of the maps are one file: give the enhanced one, its input and the rest.")
    fitted = open_contacts(uris[0], _RESOLUTION.value)
    held_out, *enhanced = (open_contacts(uri, fitted.resolution) for uri in uris[1:])
    found = [certify(each, fitted, held_out) for each in enhanced]
    losses = [total_deviance(each) for each in found]
    best = losses.index(min(losses))
    if len(losses) > 1:
        found[best]["compared"] = dict(zip(_ENHANCED.value, losses, strict=True))
        print(f"{_ENHANCED.value[best]} predicts the contacts that were set aside best.")
    files = {"enhanced": _ENHANCED.value[best], "input": _FITTED.value, "set aside": _HELD_OUT.value}
    page = write_page(found[best], enhanced[best], fitted, folder, files)
    path = write_certificate(found[best], folder)
    if _BEST.value:
        with atomic_file(_BEST.value) as partial:
            shutil.copyfile(_ENHANCED.value[best], partial)
    print(f"{found[best]['verdict']}\nWrote {path} and {page}.")
