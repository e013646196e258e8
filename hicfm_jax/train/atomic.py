"""Files that are whole or not there."""

from etils import epath


def write_atomically(path: epath.Path, data: bytes) -> None:
    """Writes a file so that a full disk or a kill leaves the old one, or none, under its name."""
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_bytes(data)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
