"""The stages of `make enhance`: a map enhanced by a packaged network or one of its own reads, and judged."""

from hicfm_jax.contacts import ContactMap
from hicfm_jax.errors import InputError
from hicfm_jax.evaluate.certificate import FILE
from hicfm_jax.experiment.stages import SHORTEST, WINDOW, Setting, Stage, script_command, training_stage

PACKAGED = "any_map"
SCRATCH, ADAPTED = "scratch", "1"
TUNES = ("", ADAPTED, SCRATCH)
"""Choices of training: none, from the packaged network, from random parameters."""

CONFIGS = {ADAPTED: "enhance_any_map.py:tune", SCRATCH: "enhance_arabidopsis.py:own_reads"}
LEAST_CONTACTS = 10_000


def check_input(contact_map: ContactMap, holdout: float, tune: str) -> None:
    """Raises InputError for a map that has too little to learn from, or choices that do not exist."""
    if not 0 <= holdout < 1:
        raise InputError(f"holdout is {holdout} but must be a fraction of the reads from 0 to below 1.")
    if tune == ADAPTED and not holdout:
        raise InputError("tune=1 keeps the better of two networks by the reads set aside: give a holdout.")
    name, bins = contact_map.name, max(map(contact_map.n_bins, contact_map.chromsizes))
    if tune and bins < SHORTEST:
        raise InputError(
            f"{name} has no chromosome of {SHORTEST} bins at {contact_map.resolution} bp to train on, the "
            f"longest has {bins}: give a finer resolution, or leave tune out."
        )
    for chrom in contact_map.chromsizes:
        if contact_map.matrix(chrom).dtype.kind == "f":
            raise InputError(f"{name} has counts that are not whole: give raw counts, not balanced ones.")
    if contact_map.total_count < LEAST_CONTACTS:
        raise InputError(
            f"{name} has {contact_map.total_count:,.0f} contacts, too few to learn from: give a map of at "
            f"least {LEAST_CONTACTS:,}, or one in wider bins."
        )


def own_stages(
    setting: Setting, target_contacts: float | None = None, holdout: float = 0.1, tune: str = SCRATCH
) -> list[Stage]:
    """Sets reads aside, cuts the others into tiles, trains, enhances and judges.

    Args:
      setting: the choices; `deep` is the map to enhance. All its chromosomes train.
      target_contacts: of the enhanced map; None: 16 times those it is made from.
      holdout: fraction of the reads to set aside for the certificate; 0: none, and no certificate.
      tune: one of `TUNES`. Adapted and packaged network both enhance, and the one that predicts the reads set
        aside better is kept.
    """
    own, source = {"resolution": setting.resolution}, setting.deep.partition("::")[0]
    fitted, held_out, tiles = (setting.path(name) for name in ("fitted.cool", "held_out.cool", "tiles"))
    found = []
    if holdout:
        thin = script_command("thin_map", input=setting.deep, **own, fraction=1 - holdout)
        aside = (*thin, "--rest", f"--output={held_out}")
        found.append(Stage(f"set {holdout:.0%} of the reads aside", aside, held_out, (source,)))
        found.append(Stage("take the others", (*thin, f"--output={fitted}"), fitted, (source,)))
    else:
        fitted = setting.deep
    if tune:
        # Validation windows are of the same chromosomes, split anew: it shows that training works. What the
        # network is worth, the reads that were set aside show.
        flags = {**own, "mode": "diagonal", "tile_size": 2 * WINDOW, "stride": 48, "val_assays": "check"}
        cut = script_command("make_tiles", input=f"own={fitted}", **flags, output=tiles)
        cut += (f"--input=check={fitted}",)
        found.append(Stage("cut the map into tiles", cut, tiles, (fitted.partition("::")[0],)))
        found.append(training_stage(setting, tiles, "train on splits of its reads", CONFIGS[tune], "network"))

    def enhance(checkpoint: str, name: str) -> Stage:
        flags = {"input": fitted, **own, "checkpoint": checkpoint, "output": setting.path(name)}
        flags |= {"target_contacts": f"{target_contacts:.0f}"} if target_contacts else {}
        command = script_command("infer", task="resolution", **flags)
        inputs = (fitted.partition("::")[0], *([] if checkpoint == PACKAGED else [checkpoint]))
        return Stage(f"enhance the map ({name})", command, setting.path(name), inputs)

    trained, best = setting.path("network") if tune else PACKAGED, setting.path("enhanced.mcool")
    if tune == ADAPTED:
        found += [enhance(PACKAGED, "untuned.mcool"), enhance(trained, "tuned.mcool")]
    else:
        found.append(enhance(trained, "enhanced.mcool"))
    if holdout:
        candidates = [stage.output for stage in found if stage.command[0] == "scripts/infer.py"]
        flags = {"enhanced": ",".join(candidates), "fitted": fitted, "held_out": held_out, **own}
        flags |= {"best": best} if tune == ADAPTED else {}
        command = script_command("certify", **flags, output=setting.workdir)
        inputs = (*candidates, fitted, held_out)
        written = best if tune == ADAPTED else setting.path(FILE)  # last
        found.append(Stage("judge it by the reads set aside", command, written, inputs))
    return found
