"""The far side of `reading_process`: a warm process that forks one reader for each file.

It runs as a program of its own rather than through `multiprocessing`, whose children run the user's script
again and, with it, import JAX and TensorFlow.
"""

import os
import resource
import signal
import socket
from multiprocessing.connection import Connection

# So that the forked readers need not import it again.
import h5py  # noqa: F401

from hicfm_jax.errors import InputError

MEMORY = 900 << 20
"""Bytes that reading may add to a small file's process; a large file may need some of its size more."""

MAX_EXTRA_MEMORY = 4 << 30


def serve(control: socket.socket) -> None:
    """Forks a reader for each socket that arrives, until the process that asks is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        message, (*sockets,), _, _ = socket.recv_fds(control, 1, 1)
        if not message:
            return
        if os.fork() == 0:
            control.close()
            try:
                _read_on_request(Connection(sockets[0]))
            except (EOFError, OSError):  # nobody listens any more
                pass
            finally:
                os._exit(0)
        os.close(sockets[0])


def _read_on_request(connection: Connection) -> None:
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    folder, (reader_class, path, args) = connection.recv()
    os.chdir(folder)
    size = os.path.getsize(path)
    _limit_memory(MEMORY + min(4 * size, MAX_EXTRA_MEMORY))
    seconds = min(2 + size // 50_000, 300)
    reader = None
    while True:
        method, method_args = connection.recv()
        try:
            _limit_cpu(seconds)
            reader = reader or reader_class(path, *args)
            for part in getattr(reader, method)(*method_args):
                connection.send(("part", part))
                _limit_cpu(seconds)
            answer = "end", None
        except InputError as error:
            answer = "input", str(error)
        except MemoryError:
            answer = "damage", "it asks for more memory than its size explains"
        except (BrokenPipeError, ConnectionError):
            return
        except Exception as error:
            answer = "damage", str(error) or type(error).__name__
        connection.send(answer)


def _limit_memory(growth: int) -> None:
    if not os.path.exists("/proc/self/statm"):  # only Linux tells what is held, and keeps to such a limit
        return
    with open("/proc/self/statm") as file:
        held = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + growth, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _limit_cpu(seconds: int) -> None:
    """Ends this process after so much more work; time spent waiting for a slow disk does not count."""
    used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (int(used) + 1 + seconds, hard))
