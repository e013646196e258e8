"""The rows of a map, kept on disk as they are finished."""

import os
import tempfile

import numpy as np

ROW_BYTES = 8
"""On disk for each pixel."""


class RowFile:
    """Two temporary files with the pixels of a map's rows, `ROW_BYTES` each together.

    The files have no names and go when nobody holds them. All chromosomes share them, because an
    assembly may have more scaffolds than a process may open files.

    Attributes:
      pixels: appended so far.

    Args:
      folder: where the files lie; None: where `tempfile` puts them (TMPDIR).

    Raises:
      OSError: the disk is full or not writable.
    """

    def __init__(self, folder: str | os.PathLike | None = None):
        self.pixels = 0
        self._folder = os.fspath(folder or tempfile.gettempdir())
        self._columns = tempfile.TemporaryFile(dir=self._folder)
        self._values = tempfile.TemporaryFile(dir=self._folder)

    def append(self, columns: np.ndarray, values: np.ndarray) -> None:
        """Adds pixels, rows one after another; values are kept as float32."""
        try:
            self._columns.write(columns.astype(np.int32).tobytes())
            self._values.write(values.astype(np.float32).tobytes())
        except OSError as error:
            raise OSError(error.errno, error.strerror, self._folder) from error
        self.pixels += len(columns)

    def read(self, first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Columns, int32 `[count]`, and values, float32 `[count]`, from the pixel `first` on."""
        return tuple(
            self._read(file, dtype, first, count)
            for file, dtype in ((self._columns, np.int32), (self._values, np.float32))
        )

    def _read(self, file, dtype, first: int, count: int) -> np.ndarray:
        try:
            file.seek(first * np.dtype(dtype).itemsize)  # also writes what is still buffered
        except OSError as error:
            raise OSError(error.errno, error.strerror, self._folder) from error
        values = np.fromfile(file, dtype, count)
        file.seek(0, os.SEEK_END)
        return values
