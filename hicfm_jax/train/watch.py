"""Processes that watch over each other: when one fails, all end, and process 0 says why, once."""

import json
import os
import sys
import threading
import time

import jax

SILENCE_SECONDS = 60.0
"""A process that has given no sign of life for so long counts as dead."""

_BEAT_SECONDS = 0.5
_BUSY_SECONDS = 15.0
"""A process that is only slow, on a crowded machine, gives a sign of life within this time."""

_FAILURE = "hicfm_jax/failure"
_LOST = "hicfm_jax/failure/lost"
_ALIVE = "hicfm_jax/alive/"
_ENDED = "hicfm_jax/ended/"


class Watch:
    """A thread that gives signs of life, and ends this process when another has failed.

    They meet in the key-value store of JAX's coordinator, which lives in process 0; should that one die,
    JAX itself aborts the others at once.
    """

    def __init__(self):
        # No public name, though Orbax uses it too.
        from jax._src.distributed import global_state

        self._store = global_state.client
        self._index, self._count = jax.process_index(), jax.process_count()
        self._seen: dict[str, tuple[str, float]] = {}
        self._lost_since = 0.0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the thread; to be called when all processes have come to their end."""
        self._stopped.set()
        self._thread.join()

    def fail(self, message: str, status: int) -> None:
        """Ends all processes with this status; does not return. The first message is the one shown."""
        self._report(_FAILURE, {"message": message, "status": status})
        threading.Event().wait()  # the thread ends the process

    def lost(self, reason: str) -> None:
        """Ends all processes because another one cannot be reached; does not return.

        The reason is shown if none of them turns out to be dead.
        """
        self._report(_LOST, {"reason": reason[:500]})
        threading.Event().wait()

    def _report(self, key: str, content: dict) -> None:
        try:
            self._store.key_value_set(key, json.dumps(content))
        except jax.errors.JaxRuntimeError as error:
            if "ALREADY_EXISTS" not in str(error):
                raise

    def _run(self) -> None:
        beat = 0
        while not self._stopped.wait(_BEAT_SECONDS):
            beat += 1
            try:
                self._store.key_value_set(f"{_ALIVE}{self._index}", str(beat), allow_overwrite=True)
                reports = dict(self._store.key_value_dir_get("hicfm_jax"))
            except jax.errors.JaxRuntimeError:
                continue  # process 0 is gone: JAX is about to abort this one
            if self._index == 0:
                self._look_for_dead(reports)
            if _FAILURE in reports:
                self._end(**json.loads(reports[_FAILURE]))

    def _look_for_dead(self, reports: dict[str, str]) -> None:
        now = time.monotonic()
        for process in range(self._count):
            key = f"{_ALIVE}{process}"
            said = reports.get(key, "")
            if key not in self._seen or self._seen[key][0] != said:
                self._seen[key] = said, now
        # A broken connection is a hint: who is dead shows in seconds then.
        if _LOST in reports:
            self._lost_since = self._lost_since or now
        patience = _BUSY_SECONDS if self._lost_since else SILENCE_SECONDS
        dead = [i for i in range(self._count) if now - self._seen[f"{_ALIVE}{i}"][1] > patience]
        if dead and _FAILURE not in reports:
            names = ", ".join(map(str, dead))
            self._report(
                _FAILURE,
                {
                    "message": f"Of {self._count} processes these died or cannot be reached: {names}; see "
                    "what they printed, then start all again with the same command, which goes on from the "
                    "last checkpoint.",
                    "status": 1,
                    "dead": len(dead),
                },
            )
        elif self._lost_since and now - self._lost_since > SILENCE_SECONDS and _FAILURE not in reports:
            reason = json.loads(reports[_LOST])["reason"]
            message = (
                "The connection between two processes broke; if it is not clear why from what follows, start "
                f"all again with the same command: {reason}"
            )
            self._report(_FAILURE, {"message": message, "status": 1})

    def _end(self, message: str, status: int, dead: int = 0) -> None:
        """Leaves without JAX's own farewell, which would wait for those that cannot come."""
        if self._index == 0:
            # Written at once, so that lines of other threads do not come between.
            sys.stderr.write(f"error: {' '.join(message.split())}\n")
            # The others have to read the message before the coordinator goes with this process.
            deadline = time.monotonic() + _BUSY_SECONDS
            while len(self._store.key_value_dir_get(_ENDED)) < self._count - 1 - dead:
                if time.monotonic() > deadline:
                    break
                time.sleep(_BEAT_SECONDS / 2)
        else:
            self._store.key_value_set(f"{_ENDED}{self._index}", "")
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
