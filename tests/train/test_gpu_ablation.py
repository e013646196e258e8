"""The measurement of a GPU: a dry run on the CPU, and the arithmetic on paper."""

import json
import multiprocessing
import re

import jax
import numpy as np
import pytest

from benchmarks import gpu_ablation, gpu_levers, roofline
from hicfm_jax.errors import InputError
from hicfm_jax.models import attention
from hicfm_jax.models.flops import pretrain_flops
from hicfm_jax.train.tasks import check_config
from tests.run_script import run_script


@pytest.mark.slow  # compiles three programs, two of them in processes of their own
def test_a_dry_run_measures_every_kind_of_case(tmp_path, monkeypatch):
    """Of the networks only pretraining's and inference's: the others differ by their configs.

    One case has both a lever and flags of the compiler; inference has neither, and runs here.
    """
    lever = gpu_ablation.Case(
        "bfloat16 stream", levers=("bfloat16 stream",), flags=gpu_ablation._FLAGS["latency hiding"]
    )
    cases = [lever if case.name == lever.name else case for case in gpu_ablation.CASES]
    in_process = gpu_ablation._in_process

    def run(case, size, data, limit):
        if case.work != "inference":
            return in_process(case, size, data, limit)
        end, theirs = multiprocessing.Pipe()
        gpu_ablation._run(theirs, case, size, data)
        return end.recv()

    monkeypatch.setenv("XLA_PYTHON_CLIENT_MEM_FRACTION", ".95")  # which it would set for good
    monkeypatch.setattr(gpu_ablation, "CASES", cases)
    assert {case.name for case in cases} >= {*gpu_ablation.DRY}
    names = (gpu_ablation.BASE, "inference in bfloat16", lever.name)
    monkeypatch.setattr(gpu_ablation, "_in_process", run)
    for work in gpu_ablation.WORKS.values():
        check_config(work("vit_test", 64, 8))
    done = run_script("benchmark_gpu.py", f"--output={tmp_path}", "--dry_run", f"--cases={','.join(names)}")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert tuple(result["cases"]) == names
    assert result["left_out"] == [] and min(result["rates"].values()) > 0
    for name, found in result["cases"].items():
        assert "error" not in found, (name, found)
        if "inference" in name:
            assert min(found["samples_per_second"]) > 0
            continue
        least, most = found["step_ms"][1:]
        assert 0 < least <= most and np.isfinite(found["loss"]) and not found["tensorflow"]
        # Two threads at most; what runs between kernels has no name.
        assert 0.1 * least < sum(found["kinds"].values()) < 4 * most
        assert {"dense products", "attention", "LayerNorm", "AdamW"} <= set(found["kinds"])
    assert json.loads((tmp_path / "gpu_ablation.json").read_text())["cases"] == result["cases"]
    text = (tmp_path / "gpu_ablation.md").read_text()
    assert all(f"| {name} |" in text for name in names) and "on paper" in text


def test_what_does_not_run_is_recorded(monkeypatch, tmp_path):
    answers = {"pretraining": 10.0, "bfloat16 stream": 12.0, "latency hiding": 9.0, "twice the batch": 11.0}

    def answer(case, size, data, limit):
        if case.name == gpu_ablation.TOGETHER:
            assert case.levers == ("bfloat16 stream",) and case.flags == ""
            assert case.changes == {"train.global_batch_size": 2}
        rate = answers.get(case.name)
        return {"samples_per_second": [rate] * 3, "compile_seconds": 1} if rate else {"error": "no memory"}

    monkeypatch.setattr(gpu_ablation, "_in_process", answer)
    result = gpu_ablation.measure(gpu_ablation.TOY, 600, tmp_path)
    assert list(result["cases"]) == [case.name for case in gpu_ablation.CASES] + [gpu_ablation.TOGETHER]
    assert "| blocks unrolled | no memory |" in gpu_ablation.table(result)
    result = gpu_ablation.measure(gpu_ablation.TOY, 1, tmp_path, ["pretraining"])
    assert result["left_out"] == ["pretraining"]
    with pytest.raises(InputError, match="no case 'nothing': take one of pretraining"):
        gpu_ablation.measure(gpu_ablation.TOY, 1, tmp_path, ["nothing"])


def test_products_on_paper_are_those_of_the_model():
    kinds = roofline.pretraining_kinds("vit_base_patch16", (448, 224), batch=3)
    assert sum(kind.flops for kind in kinds) == 3 * pretrain_flops("vit_base_patch16", (448, 224))


def test_memory_or_products_limit_a_kind():
    done = run_script("benchmark_gpu.py", "--tflops=778", "--bandwidth=3.35")
    assert done.returncode == 0, done.stderr
    assert re.search(r"\| dense products \|.*\| products \|", done.stdout)
    assert re.search(r"\| LayerNorm \| 0.0 \|.*\| memory \|", done.stdout)
    assert roofline.Kind("", 6.0, 8.0).seconds(2.0, 4.0) == 3.0


def test_heads_filled_up_give_the_same():
    rng = np.random.default_rng(0)
    rows = [rng.normal(size=(2, 6, 3, 32)).astype(np.float32) for _ in range(3)]
    filled = gpu_levers.filled_up(jax.nn.dot_product_attention)
    np.testing.assert_allclose(filled(*rows), attention.attend(*rows), rtol=1e-5, atol=1e-6)
