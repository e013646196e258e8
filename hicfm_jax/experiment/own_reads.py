"""The stages of `make enhance`: a map enhanced by what its own reads teach, and judged by some of them."""

from hicfm_jax.contacts import ContactMap
from hicfm_jax.errors import InputError
from hicfm_jax.evaluate.certificate import FILE
from hicfm_jax.experiment.stages import SHORTEST, WINDOW, Setting, Stage, script_command, training_stage

CONFIG = "enhance_arabidopsis.py:own_reads"
LEAST_CONTACTS = 10_000
GAIN = 16  # contacts of the enhanced map for each of the input, unless a target is given
SCRATCH = "scratch"


def check_input(contact_map: ContactMap, holdout: float, tune: str) -> None:
    """Raises InputError for a map that has too little to learn from, or choices that do not exist."""
    if tune != SCRATCH:
        raise InputError(
            f"There is no packaged network for tune={tune or '(empty)'} in this version: give TUNE=scratch "
            "(--tune=scratch), which trains one on the map's own reads."
        )
    if not 0 <= holdout < 1:
        raise InputError(f"holdout is {holdout} but must be a fraction of the reads from 0 to below 1.")
    name, bins = contact_map.name, max(map(contact_map.n_bins, contact_map.chromsizes))
    if bins < SHORTEST:
        raise InputError(
            f"{name} has no chromosome of {SHORTEST} bins at {contact_map.resolution} bp, the longest has "
            f"{bins}: give a finer resolution."
        )
    for chrom in contact_map.chromsizes:
        if contact_map.matrix(chrom).dtype.kind == "f":
            raise InputError(f"{name} has counts that are not whole: give raw counts, not balanced ones.")
    if contact_map.total_count < LEAST_CONTACTS:
        raise InputError(
            f"{name} has {contact_map.total_count:,.0f} contacts, too few to learn from: give a map of at "
            f"least {LEAST_CONTACTS:,}, or one in wider bins."
        )


def own_stages(setting: Setting, target_contacts: float | None = None, holdout: float = 0.1) -> list[Stage]:
    """Sets reads aside, cuts the others into tiles, trains, enhances and judges.

    Args:
      setting: the choices; `deep` is the map to enhance. All its chromosomes train.
      target_contacts: of the enhanced map; `GAIN` times those of the input if not given.
      holdout: fraction of the reads to set aside for the certificate; 0: none, and no certificate.
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
    # Validation windows are of the same chromosomes, split anew: it shows that training works. What the
    # network is worth, the reads that were set aside show.
    flags = {**own, "mode": "diagonal", "tile_size": 2 * WINDOW, "stride": 48, "val_assays": "check"}
    cut = script_command("make_tiles", input=f"own={fitted}", **flags, output=tiles)
    cut += (f"--input=check={fitted}",)
    found.append(Stage("cut the map into tiles", cut, tiles, (fitted.partition("::")[0],)))
    found.append(training_stage(setting, tiles, "train on splits of its reads", CONFIG, "network"))
    enhanced = setting.path("enhanced.mcool")
    command = script_command(
        "infer",
        task="resolution",
        input=fitted,
        **own,
        checkpoint=setting.path("network"),
        target_contacts=f"{target_contacts or GAIN * setting.contacts:.0f}",
        output=enhanced,
    )
    inputs = (fitted.partition("::")[0], setting.path("network"))
    found.append(Stage("enhance the map", command, enhanced, inputs))
    if holdout:
        command = script_command(
            "certify", enhanced=enhanced, fitted=fitted, held_out=held_out, **own, output=setting.workdir
        )
        inputs = (enhanced, fitted, held_out)
        found.append(Stage("judge it by the reads set aside", command, setting.path(FILE), inputs))
    return found
