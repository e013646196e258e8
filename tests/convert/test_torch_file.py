"""PyTorch files are read without running what is in them."""

import collections
import os
import pickle
import sys

import numpy as np
import pytest

from hicfm_jax.convert import torch_file
from hicfm_jax.errors import InputError
from tests.convert import made_up

pytestmark = pytest.mark.needs("torch")


class _Opens:
    """Unpickling this creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_checkpoint_is_named_and_not_run(tmp_path, zipped):
    trap = tmp_path / "trap"
    content = {"model": made_up.state_dict(), "extra": _Opens(trap)}
    path = made_up.save(content, tmp_path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(InputError, match=r"would call (io|builtins|_io)\.open"):
        torch_file.read(path)
    assert not trap.exists()


def test_code_in_a_bare_pickle_is_named_and_not_run(tmp_path):
    trap, path = tmp_path / "trap", tmp_path / "weights.pth"
    path.write_bytes(pickle.dumps({"model": _Opens(trap)}, protocol=4))
    with pytest.raises(InputError, match=r"would call (io|builtins|_io)\.open"):
        torch_file.read(path)
    assert not trap.exists()


def test_a_pickled_module_is_refused_by_its_class(tmp_path):
    import torch

    path = tmp_path / "module.pth"
    torch.save(torch.nn.Linear(2, 2), path)
    with pytest.raises(InputError, match=r"torch\.nn\.modules\.linear\.Linear"):
        torch_file.read(path)


@pytest.mark.slow  # runs PyTorch
@pytest.mark.parametrize("zipped", [True, False])
def test_arrays_numbers_and_args_come_through(tmp_path, zipped):
    import torch

    model = collections.OrderedDict(
        a=torch.arange(6.0).reshape(2, 3).T, b=torch.ones(2, dtype=torch.bfloat16)
    )
    content = {**made_up.trained(steps=1), "model": model}
    read = torch_file.read(made_up.save(content, tmp_path, _use_new_zipfile_serialization=zipped))
    np.testing.assert_array_equal(read["model"]["a"], [[0, 3], [1, 4], [2, 5]])
    assert read["model"]["b"].dtype == np.float32
    assert read["args"] == {"input_row_size": 64, "input_col_size": 96, "betas": (0.9, 0.95)}
    assert read["epoch"] == 3 and read["optimizer"]["state"][0]["step"] == 1


@pytest.mark.parametrize("left", [0.3, 0.999])
def test_a_cut_file(tmp_path, left):
    path = made_up.save(made_up.trained(), tmp_path)
    os.truncate(path, int(path.stat().st_size * left))
    with pytest.raises(InputError, match="cut short"):
        torch_file.read(path)


@pytest.mark.parametrize("content", [b"", b"hello\nworld\n" * 100, b"\x80\x04N."])
def test_other_files(tmp_path, content):
    path = tmp_path / "weights.pth.tar"
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a PyTorch checkpoint"):
        torch_file.read(path)


def test_a_tensor_is_no_checkpoint(tmp_path):
    with pytest.raises(InputError, match="Tensor"):
        torch_file.read(made_up.save(made_up.tensor([1, 1, 1]), tmp_path))


def test_without_pytorch_the_extra_is_named(tmp_path, monkeypatch):
    path = made_up.save({"a": made_up.tensor([1])}, tmp_path)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(InputError, match=r"pip install 'hicfm_jax\[torch\]'"):
        torch_file.read(path)
