"""Sums on CPUs are right however hicfm_jax is imported, and nobody's own flags are touched."""

import ast
import json
import os
import pathlib
import re
import subprocess
import sys
import warnings

import pytest

from hicfm_jax import xla_flags

ROOT = pathlib.Path(__file__).resolve().parents[1]
OURS = f"--{xla_flags.FLAG}={xla_flags.FUSIONS}"

ORDERS = {
    "hicfm_jax first": "import hicfm_jax, jax",
    "jax first": "import jax, jax.numpy, hicfm_jax",
    "what is inside first": "from hicfm_jax.models import create_model; import jax",
}

# The snippets of jax#39103 and jax#40412: the largest relative errors of both, and what a child process sees.
PROGRAM = """
import json, os, subprocess, sys
import jax.numpy as jnp
import numpy as np

i = np.arange(32769.0)
rows = jnp.zeros((32769, 3)).at[:, 0].set(i)
squares = jax.jit(jax.vmap(lambda r: jnp.sum((jnp.eye(3) @ r) ** 2)))(rows)
errors = [float(np.max(np.abs(np.asarray(squares, np.float64) - i**2) / np.maximum(i**2, 1)))]
E = jnp.broadcast_to(jnp.eye(60), (5, 60, 60))
for c in (1.0, 1e9):
    found = jax.jit(lambda E: jnp.sum((E @ jnp.full_like(E, c)) * E, -1))(E)
    errors.append(float(np.max(np.abs(np.asarray(found, np.float64) / c - 1))))
child = [sys.executable, "-c", "import os; print(os.environ.get('XLA_FLAGS'))"]
print(json.dumps([errors, subprocess.run(child, capture_output=True, text=True).stdout.strip()]))
"""


def _run(program, flags=""):
    """Runs it as users do: without the flags of these tests."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.parametrize("order", ORDERS)
def test_sums_after_products_are_right(order):
    done = _run(ORDERS[order] + PROGRAM)
    errors, seen_by_a_child = json.loads(done.stdout)
    assert all(error < 1e-6 for error in errors), errors  # NaN is not
    assert seen_by_a_child == OURS
    assert not done.stderr


@pytest.mark.slow  # starts a program
def test_an_import_too_late_warns_once():
    program = "import jax; jax.numpy.ones(2) + 1; import hicfm_jax, hicfm_jax.models; import hicfm_jax.train"
    assert len(re.findall("UserWarning: JAX has started already", _run(program).stderr)) == 1


@pytest.fixture
def set_fusions(monkeypatch):
    """What XLA_FLAGS is after `set_fusions`, and its warnings, given what it was before."""

    def call(before, jaxlib="0.10.2", started=False):
        monkeypatch.setenv("XLA_FLAGS", before)
        monkeypatch.setattr(xla_flags, "_installed", lambda: jaxlib)
        monkeypatch.setattr(xla_flags, "_started", lambda: started)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            xla_flags.set_fusions()
        return os.environ["XLA_FLAGS"], [str(warning.message) for warning in caught]

    return call


def test_other_flags_stay(set_fusions):
    assert set_fusions("") == (OURS, [])
    assert set_fusions(" --xla_dump_to=there ") == (f"--xla_dump_to=there {OURS}", [])


@pytest.mark.parametrize("value", ["", "dot,reduce", "-reduce", xla_flags.FUSIONS])
@pytest.mark.parametrize("started", [False, True])
def test_a_setting_of_the_users_stays(set_fusions, value, started):
    flags = f"--{xla_flags.FLAG}={value} --xla_dump_to=there"
    assert set_fusions(flags, started=started) == (flags, [])


@pytest.mark.parametrize("jaxlib", ["", "0.7.2", "0.10.1", "0.13.0", "1.0", "unknown"])
def test_a_jaxlib_that_nobody_tried_is_left_alone(set_fusions, jaxlib):
    assert set_fusions("", jaxlib) == ("", [])


@pytest.mark.parametrize("jaxlib", ["0.10.2", "0.10.2.dev20260101", "0.11.0", "0.12.0.1"])
def test_a_jaxlib_that_knows_the_flag_gets_it(set_fusions, jaxlib):
    assert set_fusions("", jaxlib) == (OURS, [])


def test_the_releases_tried_are_those_that_can_be_installed(setup_arguments):
    """Whoever widens the range of JAX looks whether the new release knows the flag, and still needs it."""
    (jax,) = [line for line in setup_arguments["install_requires"] if re.match(r"jax\W", line)]
    first, below = (".".join(map(str, release)) for release in xla_flags.KNOWN)
    assert jax == f"jax>={first},<{below}"


def test_flags_are_not_changed_once_they_are_read(set_fusions):
    flags, warned = set_fusions("--xla_dump_to=there", started=True)
    assert flags == "--xla_dump_to=there"
    assert len(warned) == 1 and OURS in warned[0]


def test_a_file_of_flags_is_left_alone(set_fusions, tmp_path):
    """XLA takes an XLA_FLAGS without a dash for the name of a file."""
    path = tmp_path / "flags.txt"
    path.write_text("--xla_dump_to=there")
    flags, warned = set_fusions(str(path))
    assert flags == str(path)
    assert len(warned) == 1 and OURS in warned[0]
    path.write_text(f"--xla_dump_to=there\n{OURS}\n")
    assert set_fusions(str(path)) == (str(path), [])


@pytest.mark.parametrize("path", sorted((ROOT / "scripts").glob("*.py")), ids=lambda path: path.name)
def test_a_script_imports_the_package_at_its_top(path):
    body = ast.parse(path.read_text()).body
    modules = {node.module.split(".")[0] for node in body if isinstance(node, ast.ImportFrom)}
    modules |= {
        alias.name.split(".")[0] for node in body if isinstance(node, ast.Import) for alias in node.names
    }
    assert "hicfm_jax" in modules
