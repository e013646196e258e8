"""Windows of a map through the network, in batches over all devices."""

import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from hicfm_jax.errors import InputError
from hicfm_jax.infer.network import Network
from hicfm_jax.models.heads import apply_head
from hicfm_jax.models.preprocess import TargetScaling


class Window(NamedTuple):
    """What the network is shown.

    Attributes:
      counts: raw contacts `[H, W]`.
      context: `contacts.expected.Expected.window`, for a network that takes the depth; else empty.
    """

    counts: np.ndarray
    context: Mapping[str, np.ndarray]


class Predictor:
    """Applies a network, compiled once; parameters go to every device, windows are shared out.

    Args:
      network: what to apply.
      total_count: contacts of the whole shallow map.
      cutoff: of the image, see `models.preprocess.intensity`.
      enlarge: contacts of the deep map over those of the shallow one; for a network that takes the depth.
      batch_size: windows at once; rounded up to a multiple of the number of devices.
      devices: None: all of this machine.
    """

    def __init__(
        self,
        network: Network,
        total_count: float,
        cutoff: float = 0.0,
        enlarge: float | None = None,
        batch_size: int = 8,
        devices: list | None = None,
    ):
        devices = devices or jax.local_devices()
        self.batch_size = -(-batch_size // len(devices)) * len(devices)
        mesh = jax.make_mesh((len(devices),), ("batch",), axis_types=(AxisType.Auto,), devices=devices)
        self._shared = NamedSharding(mesh, PartitionSpec("batch"))
        self._params = jax.device_put(network.params, NamedSharding(mesh, PartitionSpec()))
        self._depth = {"total_count": np.float32(total_count)}
        if enlarge is not None:
            self._depth["enlarge"] = np.float32(enlarge)
        self._apply = _program(network.model, network.scaling, cutoff, network.takes_depth, mesh)

    def __call__(self, windows: Iterable[Window]) -> Iterator[np.ndarray]:
        """Contacts of each window on the deep map's depth, `[H, W]` float32, in order.

        While the devices work on a batch, the next one is cut.

        Raises:
          InputError: the network gives values that are not finite.
        """
        ahead = None
        for batch in self._batches(windows):
            started = self._start(batch), len(batch)
            if ahead is not None:
                yield from self._fetch(*ahead)
            ahead = started
        if ahead is not None:
            yield from self._fetch(*ahead)

    def _batches(self, windows: Iterable[Window]) -> Iterator[list[Window]]:
        batch = []
        for window in windows:
            batch.append(window)
            if len(batch) == self.batch_size:
                yield batch
                batch = []
        if batch:
            yield batch

    def _start(self, batch: list[Window]) -> jax.Array:
        def stacked(parts):
            # The last batch is filled up with empty windows.
            whole = np.zeros((self.batch_size, *parts[0].shape), np.float32)
            for i, part in enumerate(parts):
                whole[i] = part
            return jax.device_put(whole, self._shared)

        context = {name: stacked([window.context[name] for window in batch]) for name in batch[0].context}
        return self._apply(self._params, self._depth, stacked([window.counts for window in batch]), context)

    def _fetch(self, found: jax.Array, count: int) -> np.ndarray:
        values = np.asarray(found)[:count]
        if not np.isfinite(values).all():
            raise InputError(
                "The network predicts values that are not finite: give a checkpoint that was trained to the "
                "end, and a map of raw counts."
            )
        return values


@functools.lru_cache(maxsize=8)
def _program(model: Any, scaling: TargetScaling, cutoff: float, takes_depth: bool, mesh: jax.sharding.Mesh):
    """The jitted `(params, depth, counts, context) -> contacts`, compiled once for all maps of a session."""

    def contacts(params, depth, counts, context):
        # Arguments and not constants, so that one program serves every depth.
        depth = {name: jnp.full(len(counts), value) for name, value in depth.items()}
        output = apply_head(model, params, counts, cutoff=cutoff, context=context or None, **depth).map
        found = jnp.maximum(scaling.unscale(output), 0.0)
        # The maximum of NaN and 0 is 0 on some devices.
        found = jnp.where(jnp.isnan(output), output, found)
        if cutoff or takes_depth:
            return found
        # Without a scale of its own an empty window is no image; the original skips it.
        return jnp.where((counts > 0).any(axis=(1, 2), keepdims=True), found, 0.0)

    shared, everywhere = NamedSharding(mesh, PartitionSpec("batch")), NamedSharding(mesh, PartitionSpec())
    return jax.jit(contacts, in_shardings=(everywhere, everywhere, shared, shared), out_shardings=shared)
