"""Placement of arrays: one mesh (data, fsdp, tensor), rules over parameter names."""

import re
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from hicfm_jax.config import micro_batch_size
from hicfm_jax.errors import InputError

AXES = ("data", "fsdp", "tensor")
BATCH_SPEC = PartitionSpec(("data", "fsdp"))

# The first match counts; an axis that does not divide its dimension is left out. fc1 -> fc2 needs one
# reduction over "tensor"; the packed columns of qkv are also moved between its devices.
RULES = (
    (r"(qkv|fc1)/kernel$", ("fsdp", "tensor")),
    (r"(qkv|fc1)/bias$", ("tensor",)),
    (r"(proj|fc2)/kernel$", ("tensor", "fsdp")),
    (r"/kernel$", ("fsdp", None)),
    (r"", ()),
)


def create_mesh(config: ConfigDict, devices: list[Any] | None = None) -> Mesh:
    """The mesh of `config.mesh` over all devices; `data = -1` takes what the other axes leave.

    Raises InputError if the sizes do not fit the devices, or a micro-batch cannot be split evenly.
    """
    devices = jax.devices() if devices is None else devices
    sizes = [config.mesh[axis] for axis in AXES]
    if sizes[0] == -1:
        sizes[0] = max(1, len(devices) // (sizes[1] * sizes[2]))
    if np.prod(sizes) != len(devices):
        raise InputError(
            f"config.mesh needs {' x '.join(map(str, sizes))} devices (data x fsdp x tensor) "
            f"but there are {len(devices)}: choose sizes whose product is {len(devices)}."
        )
    micro, parts = micro_batch_size(config), sizes[0] * sizes[1]
    if micro % parts:
        raise InputError(
            f"A micro-batch of {micro} samples (train.global_batch_size / train.accum_steps) cannot be "
            f"split over {parts} devices: make it a multiple of {parts}, or lower mesh.data."
        )
    # Axis types are Auto because masking gathers along sharded axes, which Explicit refuses.
    types = (AxisType.Auto,) * 3
    if len({device.process_index for device in devices}) == 1:
        return jax.make_mesh(tuple(sizes), AXES, axis_types=types, devices=devices)
    # A process's devices side by side: it feeds consecutive samples, and "tensor" stays inside a machine.
    in_order = sorted(devices, key=lambda device: (device.process_index, device.id))
    mesh = Mesh(np.array(in_order).reshape(sizes), AXES, axis_types=types)
    batch_part(mesh)
    return mesh


def batch_part(mesh: Mesh) -> tuple[int, int]:
    """Index and number of the equal parts of a batch that processes feed; two may feed the same part.

    Raises:
      InputError: `tensor` splits processes, so that parts differ in size.
    """
    rows = mesh.devices.reshape(-1, mesh.shape["tensor"])
    owners = np.vectorize(lambda device: device.process_index)(rows)
    parts = {int(owner): np.flatnonzero((owners == owner).any(axis=1)) for owner in np.unique(owners)}
    sizes = {len(part) for part in parts.values()}
    size = sizes.pop()
    if sizes or any(part[0] % size for part in parts.values()):
        raise InputError(
            f"config.mesh.tensor={mesh.shape['tensor']} does not fit {len(parts)} processes of "
            f"{mesh.size // len(parts)} devices: let one of the two numbers divide the other."
        )
    return int(parts[jax.process_index()][0]) // size, len(rows) // size


def parameter_name(path: tuple[Any, ...]) -> str:
    """A key path of a pytree as "encoder/blocks/block_0/attn/qkv/kernel"."""
    return "/".join(str(getattr(k, "key", getattr(k, "name", getattr(k, "idx", k)))) for k in path)


def state_shardings(shapes: Any, mesh: Mesh) -> Any:
    """A `NamedSharding` for each leaf of a tree of shapes (parameters, or a whole train state).

    The names of optimizer moments end in their parameter's name, so the same rules place them.
    """

    def place(path, leaf):
        name = parameter_name(path)
        spec = next(spec for pattern, spec in RULES if re.search(pattern, name))
        if len(spec) != leaf.ndim:
            return NamedSharding(mesh, PartitionSpec())
        axes = zip(spec, leaf.shape, strict=True)
        fits = (axis if axis and dim % mesh.shape[axis] == 0 else None for axis, dim in axes)
        return NamedSharding(mesh, PartitionSpec(*fits))

    return jax.tree_util.tree_map_with_path(place, shapes)


def to_devices(tree: Any, mesh: Mesh) -> Any:
    """Puts this host's part of a batch (numpy, examples first) on the mesh as global arrays."""
    sharding = NamedSharding(mesh, BATCH_SPEC)
    return jax.tree.map(lambda x: jax.make_array_from_process_local_data(sharding, x), tree)
