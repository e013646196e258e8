"""Measures tiles, steps and inference, and how they grow, and writes docs/reference/performance.md.

    python scripts/benchmark_page.py                          all of it; ten minutes on two cores
    python scripts/benchmark_page.py --sections=growth        one section

Other work on the machine changes the numbers.
"""

import pathlib
import sys

from absl import flags

from hicfm_jax import cli

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # benchmarks/ is not installed

DOCS = ROOT / "docs"
_PAGE = flags.DEFINE_string("page", str(DOCS / "reference/performance.md"), "Page to write the tables in.")
_PICTURE = flags.DEFINE_string("picture", str(DOCS / "pictures/growth.png"), "Picture of the growth.")
_SECTIONS = flags.DEFINE_list("sections", [], "Sections to measure; all if not given.")
_TOY = flags.DEFINE_bool("toy", False, "Sizes that say nothing, to try the program.")


def main() -> None:
    from benchmarks.page import measure_page
    from hicfm_jax.train.processes import keep_freed_memory

    keep_freed_memory()  # as scripts/train.py does
    measure_page(_PAGE.value, _PICTURE.value, _SECTIONS.value, _TOY.value)


if __name__ == "__main__":
    cli.run(main)
