"""The rows of a map, kept on disk as they are finished."""

import os
import tempfile

import numpy as np
import scipy.sparse


class RowFile:
    """Two temporary files with the pixels of a sparse matrix, 8 bytes each together.

    The files have no names and go when nobody holds them.

    Args:
      size: rows and columns.
      folder: where the files lie; None: where `tempfile` puts them (TMPDIR).

    Raises:
      OSError: the disk is full or not writable.
    """

    def __init__(self, size: int, folder: str | os.PathLike | None = None):
        self._size = size
        self._folder = os.fspath(folder or tempfile.gettempdir())
        self._columns = tempfile.TemporaryFile(dir=self._folder)
        self._values = tempfile.TemporaryFile(dir=self._folder)
        self._lengths: list[np.ndarray] = []

    def append(self, lengths: np.ndarray, columns: np.ndarray, values: np.ndarray) -> None:
        """Adds rows.

        Args:
          lengths: pixels of each of them, `[k]`.
          columns, values: of the pixels, rows one after another; values are kept as float32.
        """
        self._lengths.append(lengths)
        try:
            self._columns.write(columns.astype(np.int32).tobytes())
            self._values.write(values.astype(np.float32).tobytes())
        except OSError as error:
            raise OSError(error.errno, error.strerror, self._folder) from error

    def read(self) -> scipy.sparse.csr_array:
        """The matrix, float32 `[size, size]`."""
        lengths = np.concatenate([np.zeros(1, np.int64), *self._lengths])
        ends = np.cumsum(lengths, dtype=np.int64)
        ends = np.append(ends, np.full(self._size + 1 - len(ends), ends[-1]))
        small = ends[-1] <= np.iinfo(np.int32).max  # scipy wants one dtype for both
        columns = self._read(self._columns, np.int32)
        return scipy.sparse.csr_array(
            (
                self._read(self._values, np.float32),
                columns if small else columns.astype(np.int64),
                ends.astype(np.int32) if small else ends,
            ),
            shape=(self._size, self._size),
        )

    def _read(self, file, dtype) -> np.ndarray:
        try:
            file.seek(0)  # also writes what is still buffered
        except OSError as error:
            raise OSError(error.errno, error.strerror, self._folder) from error
        values = np.fromfile(file, dtype)
        file.seek(0, os.SEEK_END)
        return values
