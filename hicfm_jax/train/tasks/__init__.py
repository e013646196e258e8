"""The task that a config names."""

from collections.abc import Mapping

from ml_collections import ConfigDict

from hicfm_jax.train.tasks.finetune_task import finetune_task
from hicfm_jax.train.tasks.pretrain_task import pretrain_task
from hicfm_jax.train.tasks.reproducibility_task import reproducibility_task
from hicfm_jax.train.tasks.task import Task


def create_task(config: ConfigDict, targets: Mapping[str, tuple[int, ...]] | None = None) -> Task:
    """The task of `config.task`.

    Args:
      config: validated.
      targets: what the batches bring to regress on: shape of one example by name (`Batch.targets`).
        Fine-tuning needs it, pretraining and reproducibility do not.

    Raises:
      InputError: targets that are missing or of another shape than the model's outputs.
    """
    if config.task == "pretrain":
        return pretrain_task(config)
    if config.task == "reproducibility":
        return reproducibility_task(config)
    return finetune_task(config, targets or {})
