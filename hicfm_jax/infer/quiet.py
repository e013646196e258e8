"""Working without a progress bar."""

import sys

from hicfm_jax.tiles.progress import Silence


class Quiet(Silence):
    """Shows no progress, but says what is odd, on stderr."""

    def say(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)
