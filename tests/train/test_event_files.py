"""TensorBoard's files while a disk is full or a bucket does not answer."""

import errno
import os
import types

from tensorboardX.record_writer import RecordWriter

from hicfm_jax.train.logging import event_files

RECORDS = [b"one", b"two" * 50, b"three", b"four", b"five"]


def _full():
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Disk:
    """A file that takes five bytes at a time, as long as there is room."""

    def __init__(self, path):
        self._file, self.room = open(path, "wb", buffering=0), 0
        self.fileno, self.close = self._file.fileno, self._file.close

    def write(self, data):
        fits = min(len(data), 5, self.room)
        self.room -= fits
        return self._file.write(data[:fits]) if fits else _full()


def test_a_full_disk_loses_nothing_once_there_is_room(tmp_path, monkeypatch, capsys):
    disk = Disk(tmp_path / "ours")
    monkeypatch.setattr(event_files, "open", lambda *_, **options: disk, raising=False)
    ours = RecordWriter(event_files.summary_folder(tmp_path) + "/ours")
    plain = RecordWriter(str(tmp_path / "plain"))
    # Twice there is not enough, the first time in the middle of a record.
    for record, room in zip(RECORDS, (1000, 7, 0, 1000, 0), strict=True):
        disk.room = room
        for writer in (ours, plain):
            writer.write(record)
            writer.flush()
    assert capsys.readouterr().out.count("ours cannot be written now (No space left on device)") == 2
    disk.room = 1000
    for writer in (ours, plain):
        writer.close()
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "plain").read_bytes()


def test_a_bucket_gets_the_whole_file_once_a_minute_and_at_the_end(monkeypatch, capsys):
    clock = types.SimpleNamespace(now=0.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(event_files, "time", clock)
    uploads = []

    class Remote:
        def write_bytes(self, content):
            if clock.now == 60.0:
                raise RuntimeError("503")
            uploads.append(content)

    file = event_files._BucketFile(Remote())
    for clock.now in (0.0, 59.0, 60.0, 119.0, 120.0):
        file.write(b"x")
        file.flush()
    assert uploads == [b"x", b"xxxxx"]
    assert "cannot be written now (503)" in capsys.readouterr().out
    file.write(b"y")
    file.close()
    assert uploads[-1] == b"xxxxxy"


def test_a_screen_on_the_same_disk_changes_nothing(monkeypatch):
    """Its error would end the thread of tensorboardX as well."""

    class Screen:
        def write(self, text):
            _full()

    file = event_files._BucketFile(types.SimpleNamespace(write_bytes=lambda content: _full()))
    monkeypatch.setattr("sys.stdout", Screen())
    file.close()
