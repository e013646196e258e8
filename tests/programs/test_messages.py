"""What users type almost right, and what the programs answer."""

import resource

import pytest

from hicfm_jax.base_pairs import BASE_PAIRS, parse_base_pairs
from hicfm_jax.checkpoints.single_file import packaged_names
from hicfm_jax.contacts import simulate, write_contacts
from tests.convert import made_up
from tests.infer.toy_networks import write_checkpoint
from tests.run_script import run_hicfm


@pytest.mark.parametrize("text", ["30000", "30,000", "3e4", "30k", "30kb", "30 KB", "0.03Mb", "30000bp"])
def test_lengths_as_people_write_them(text):
    assert parse_base_pairs(text) == BASE_PAIRS.parse(text) == 30_000


@pytest.mark.parametrize("text", ["", "kb", "30q", "1,5Mb", "3,00", "1.5", "30.000", "-1", "0.5", "0"])
def test_other_lengths_are_refused(text):
    with pytest.raises(ValueError):
        BASE_PAIRS.parse(text)


def test_a_resolution_with_a_unit(tmp_path):
    write_contacts(simulate(contacts=1e4, resolution=100_000), tmp_path / "deep.cool")
    done = run_hicfm("thin", tmp_path / "deep.cool", tmp_path / "out.cool", "--resolution=0.2Mb")
    assert done.returncode == 0, done.stderr
    wrong = run_hicfm("thin", tmp_path / "deep.cool", tmp_path / "b.cool", "--resolution=100x")
    assert wrong.returncode == 2 and "such as 30000, 30,000, 30k, 30kb or 1Mb" in wrong.stderr


def test_an_output_that_exists_names_force_where_it_helps(tmp_path):
    (tmp_path / "out.cool").touch()
    made = run_hicfm("simulate", tmp_path / "out.cool", "--contacts=1e4", "--resolution=100kb")
    assert made.returncode == 0  # replaced, as an empty file always was
    there = run_hicfm("thin", tmp_path / "out.cool", tmp_path / "out.cool")
    assert there.returncode == 2 and "exists already: choose another name, or --force" in there.stderr
    (tmp_path / "new.cool.bedpe").touch()
    beside = run_hicfm("simulate", tmp_path / "new.cool", "--loops=1", "--force")
    assert beside.returncode == 2 and "bedpe exists already: remove it" in beside.stderr


def test_force_replaces_no_folder_without_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused = run_hicfm("simulate", ".", "--force")
    assert refused.returncode == 2 and "--force cannot replace the folder ." in refused.stderr


def test_help_says_what_every_task_writes():
    shown = run_hicfm("infer", "--help").stdout
    assert ": ;" not in shown and "epigenome: a folder" in " ".join(shown.split())


@pytest.mark.parametrize("words", [("info", "anymap"), ("convert", "Any-Map", "out")])
def test_a_misspelt_network_of_the_package(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run_hicfm(*words)
    assert done.returncode == 2 and "did you mean any_map?" in done.stderr


def test_files_may_be_called_almost_as_a_network_of_the_package(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_contacts(simulate(contacts=1e4, resolution=100_000), tmp_path / "any_map.cool")
    assert run_hicfm("info", "any_map.cool::/").returncode == 0
    write_checkpoint(tmp_path / "any_map2", residual="none")
    shown = run_hicfm("info", "any_map2@last")
    assert shown.returncode == 0 and "the last step" in shown.stdout, shown.stderr


@pytest.mark.parametrize("name", packaged_names())
def test_a_network_of_the_package_is_described_on_half_a_screen(name):
    shown = run_hicfm("info", name).stdout
    assert len(shown.splitlines()) <= 16
    for words in (
        f"{name}.md",
        "Arabidopsis thaliana (TAIR10)",
        "parameters",
        "bp",
        "contacts",
    ):
        assert words in shown


def test_an_ending_says_what_is_written(tmp_path):
    made_up_file = made_up.save({"model": made_up.state_dict()}, tmp_path)
    refused = run_hicfm("convert", made_up_file, tmp_path / "weights.npz")
    assert refused.returncode == 2 and "not written as .npz" in refused.stderr
    assert not (tmp_path / "weights.npz").exists()
    assert run_hicfm("convert", made_up_file, tmp_path / "weights.v2").returncode == 0
    back = run_hicfm("convert", tmp_path / "weights.v2", tmp_path / "back.pth.tar")
    assert back.returncode == 0 and (tmp_path / "back.pth.tar").is_file(), back.stderr


@pytest.mark.needs("torch")
def test_a_disk_that_fills_while_a_pytorch_file_is_written(tmp_path):
    run = write_checkpoint(tmp_path / "run", residual="none")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
        done = run_hicfm("convert", run, tmp_path / "out.pth.tar")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: ") and "cannot be used" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
