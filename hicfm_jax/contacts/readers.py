"""One door to all Hi-C files: a URI and a resolution in, a ContactMap out."""

import os
import pathlib

from hicfm_jax.contacts.contact_map import ContactMap
from hicfm_jax.errors import InputError

SUFFIXES = (".cool", ".mcool")


def open_contacts(
    uri: str | os.PathLike, resolution: int | None = None, engine: str | None = None
) -> ContactMap:
    """Opens a file of contact counts; the counts themselves are read when asked for.

    Args:
      uri: a `.cool` or `.mcool` file, optionally `FILE::/group`.
      resolution: bin width in bp. A width that the file lacks is summed up from the largest one it
        holds that divides it. None takes the file's only one.
      engine: the library to read with, for formats that more than one library reads (none so far).

    Returns:
      A ContactMap of raw counts.

    Raises:
      InputError: no such file or group, another or a damaged format, or a resolution that can't be had.
    """
    path, _, group = os.fspath(uri).partition("::")
    suffix = pathlib.Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(
            f"{path}: cannot read {suffix or 'a file without a suffix'}, expected {' or '.join(SUFFIXES)}."
        )
    if engine is not None:
        raise InputError(f"engine={engine!r} is no choice for {suffix} files: leave engine out.")
    if resolution is not None and not (resolution > 0 and resolution == int(resolution)):
        raise InputError(f"resolution={resolution} is not a bin width: give whole bp above 0.")
    if not os.path.exists(path):
        raise InputError(f"{path} does not exist: give the path of a {suffix} file.")
    if not os.path.isfile(path):
        raise InputError(f"{path} is not a file but a directory or device: give the path of a {suffix} file.")
    if os.path.getsize(path) == 0:
        raise InputError(f"{path} is empty (0 bytes): make or fetch it again.")
    return _open_cool(path, group, resolution)


def _open_cool(path: str, group: str, resolution: int | None) -> ContactMap:
    from hicfm_jax.contacts import cool_file

    held = cool_file.list_groups(path)
    if not held:
        raise InputError(f"{path} is an HDF5 file without a cooler in it: give a .cool or .mcool file.")
    inside = "/" + group.strip("/")
    chosen = {name: width for name, width in held.items() if _within(name, inside)}
    if not chosen:
        raise InputError(f"{path} has no cooler at ::{inside}, expected one of {', '.join(held)}.")

    fixed = sorted({width for width in chosen.values() if width})
    if not fixed:
        raise InputError(f"{path} has bins of varying width, expected one width: bin it anew.")
    listed = ", ".join(str(width) for width in fixed) + " bp"
    if resolution is None:
        if len(fixed) > 1:
            raise InputError(f"{path} holds several resolutions, {listed}: choose one with resolution=BP.")
        source = fixed[0]
    else:
        divisors = [width for width in fixed if resolution % width == 0]
        if not divisors:
            raise InputError(
                f"{path} cannot give {int(resolution)} bp: it holds {listed}; choose one of these "
                "or a multiple."
            )
        source = divisors[-1]

    groups = [name for name, width in chosen.items() if width == source]
    if len(groups) > 1:
        raise InputError(
            f"{path} holds {len(groups)} maps at {source} bp: choose one of "
            + ", ".join(f"{path}::{name}" for name in groups[:10])
            + "."
        )
    contact_map = cool_file.CoolFile(path, groups[0]).contact_map()
    return contact_map.coarsen(resolution // source) if resolution not in (None, source) else contact_map


def _within(name: str, group: str) -> bool:
    return group == "/" or name == group or name.startswith(group + "/")
