"""The report of the stream's benchmark, on too few tiles for meaningful rates."""

import json

import pytest

from benchmarks import stream, synthetic
from hicfm_jax.errors import InputError
from tests.run_script import run_script


@pytest.mark.slow  # measures for seconds
@pytest.mark.parametrize("density", [0.12, 0.9])
def test_every_stage_of_the_stream_is_measured(density):
    with synthetic.tiles_folder(f"synthetic:{density}", (64, 96)) as tiles:
        result = stream.measure_stream(tiles, batch_size=4, window=(64, 64), thin=(0.1, 0.5), seconds=0.05)
    assert not tiles.exists()
    for stage in stream.STAGES:
        rate = result[stage]
        assert rate["tiles"] > 0 and rate["wall_seconds"] >= 0.05
        assert rate["tiles_per_second"] == pytest.approx(rate["tiles"] / rate["wall_seconds"])
        assert rate["tiles_per_core_second"] == pytest.approx(1e3 / rate["cpu_ms_per_tile"])
    assert result["density"] == pytest.approx(density, rel=0.2)
    assert (result["tile_shape"], result["window"], result["batch_size"]) == ([64, 96], [64, 64], 4)
    # Random counts leave little to compress: at least their positions, at most two bytes a pixel.
    assert 64 * 96 * density / 8 < result["bytes_per_tile"] < 2 * 64 * 96


def test_the_script_ends_in_one_json_object(toy_dataset):
    done = run_script(
        "benchmark.py", f"--input={toy_dataset[0]}", "--window=64,32", "--batch=8", "--seconds=0.05"
    )
    assert done.returncode == 0, done.stderr
    *table, last = done.stdout.splitlines()
    result = json.loads(last)
    assert not {"thinned", "pairs"} & set(result)  # nobody asked for them
    assert result["num_tiles"] == toy_dataset[1]["splits"]["train"]["tiles"]
    for stage in ("read", "decode", "crop", "batch", "stream"):
        assert any(line.startswith(stage) for line in table)
        assert result[stage]["tiles_per_second"] > 0


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--input=synthetic:much"], "has no density"),
        (["--input=synthetic:0.1", "--window=a"], "window is 'a'"),
    ],
)
def test_mistakes_are_one_sentence(flags, message):
    done = run_script("benchmark.py", *flags)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr and "Traceback" not in done.stderr


def test_what_cannot_be_measured(toy_dataset, tmp_path):
    with pytest.raises(InputError, match="seconds is 0"):
        stream.measure_stream(toy_dataset[0], seconds=0)
    with pytest.raises(InputError, match="thin is .* two fractions"):
        stream.measure_stream(toy_dataset[0], thin=(0.5, 0.1))
    with pytest.raises(InputError, match="not a folder of tiles"):
        stream.measure_stream(tmp_path / "nowhere")
    with pytest.raises(InputError, match="density is 2"):
        synthetic.parse_density("synthetic:2")
