"""The command `hicfm`: help, words without flags, configs, replaced outputs; light imports."""

import os
import subprocess
import sys
import zipfile
from unittest import mock

import pytest
from absl import flags

from hicfm_jax import cli, programs
from hicfm_jax.contacts import open_contacts, simulate, write_contacts
from hicfm_jax.contacts.species import guess_species, longest_chromosomes, same_species
from tests.commands import ROOT, flags_of
from tests.infer.toy_networks import SEEN, write_checkpoint
from tests.run_script import run_hicfm, run_script


@pytest.fixture(scope="module")
def deep(tmp_path_factory):
    path = tmp_path_factory.mktemp("maps") / "deep.cool"
    write_contacts(simulate(contacts=1e5, resolution=100_000), path)
    return path


def test_every_program_is_a_command_with_a_script():
    files = {path.stem for path in (ROOT / "hicfm_jax/programs").glob("[a-z]*.py")}
    assert files == {program.module for program in programs.PROGRAMS.values()}
    for name, program in programs.PROGRAMS.items():
        text = (ROOT / f"scripts/{program.module}.py").read_text()
        assert 'start("' in text and program.module in text, name


def test_the_list_of_commands_and_a_wrong_one():
    shown = run_hicfm("--help")
    assert shown.returncode == 0 and all(name in shown.stdout for name in programs.PROGRAMS)
    assert run_hicfm().returncode == 2
    wrong = run_hicfm("enhanse", "a", "b")
    assert wrong.returncode == 2 and wrong.stderr.count("\n") == 1 and "enhance" in wrong.stderr
    assert "did you mean evaluate?" in run_hicfm("compare", "a", "b").stderr
    assert run_hicfm("help", "thin").stdout == run_hicfm("thin", "--help").stdout
    for words in (["--version"], ["thin", "--version"]):
        assert run_hicfm(*words).stdout.startswith("hicfm_jax ")


@pytest.mark.parametrize("name", programs.PROGRAMS)
def test_help_has_examples_and_every_flag_once(name):
    shown = run_hicfm(name, "-h")
    assert shown.returncode == 0 and not shown.stderr
    assert f"usage: hicfm {name} " in shown.stdout
    assert "\n    hicfm " in shown.stdout, "an example on a line of its own"
    lines = [line for line in shown.stdout.splitlines() if line.startswith("  --")]
    described = [line.split("--")[1] for line in lines]
    described = [word.removeprefix("[no]").split("=")[0] for word in described]
    assert len(described) == len(set(described))
    own = set(flags_of(f"scripts/{programs.PROGRAMS[name].module}.py"))
    assert own - set(described) <= {"force"}


def test_a_program_ends_without_a_word_when_nobody_reads_on(monkeypatch):
    """As after `| head`."""
    read, write = os.pipe()
    os.close(read)
    with open(write, "w") as output:
        monkeypatch.setattr(sys, "stdout", output)
        monkeypatch.setattr(sys, "argv", ["hicfm", "--help"])
        with pytest.raises(SystemExit) as ended:
            programs.main()
    assert ended.value.code == 141
    monkeypatch.undo()
    with pytest.raises(BrokenPipeError), cli.until_nobody_reads():
        raise BrokenPipeError("of another pipe")


def test_words_without_flags(deep, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cores = []
    monkeypatch.setattr(os, "sched_setaffinity", lambda _, chosen: cores.append(len(chosen)))
    done = run_hicfm("thin", deep, "shallow.cool", "--fraction", "0.5", "-p", "1")
    assert done.returncode == 0 and cores == [1], done.stderr
    assert 0 < open_contacts("shallow.cool").total_count < open_contacts(deep).total_count
    assert run_hicfm("thin", deep, "half.cool", "--fraction=1/2").returncode == 0
    assert open_contacts("half.cool").total_count == open_contacts("shallow.cool").total_count
    for fraction in ("10%", "1/0"):
        assert "such as 0.0625 or 1/16." in run_hicfm("thin", deep, "a.cool", f"--fraction={fraction}").stderr
    surplus = run_hicfm("thin", deep, "a.cool", "b.cool")
    assert surplus.returncode == 2 and "b.cool" in surplus.stderr
    missing = run_script("thin_map.py")
    assert missing.returncode == 2 and "--input is missing" in missing.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["a", "b", "out"], ["--input=a", "--input=b", "--output=out"]),
        (["a", "out", "--stride", "5"], ["--input=a", "--output=out", "--stride=5"]),
        (["a", "--trans", "out"], ["--input=a", "--output=out", "--trans"]),
        (["--resolution", "-1", "a"], ["--input=a", "--resolution=-1"]),
        (["a", "--output=out"], ["--input=a", "--output=out"]),
        (["b", "--input=a"], ["--input=b", "--input=a"]),
    ],
)
def test_a_list_takes_several_words(words, expected):
    values = flags.FlagValues()
    flags.DEFINE_multi_string("input", [], "", flag_values=values)
    flags.DEFINE_string("output", None, "", flag_values=values)
    flags.DEFINE_integer("stride", 1, "", flag_values=values)
    flags.DEFINE_integer("resolution", 1, "", flag_values=values)
    flags.DEFINE_bool("trans", False, "", flag_values=values)
    with mock.patch.object(cli.flags, "FLAGS", values):
        assert cli.named(words, ("input", "output")) == expected


def test_force_replaces_only_after_success(deep, tmp_path):
    path = tmp_path / "shallow.cool"
    path.write_text("old")
    refused = run_hicfm("thin", deep, path)
    assert refused.returncode == 2 and "exists already" in refused.stderr
    failed = run_hicfm("thin", deep, path, "--force", "--fraction=2")
    assert failed.returncode == 2 and path.read_text() == "old"
    assert run_hicfm("thin", deep, path, "--force").returncode == 0
    assert open_contacts(path).total_count and list(tmp_path.iterdir()) == [path]
    itself = run_hicfm("thin", path, path, "--force")
    assert itself.returncode == 2 and "which is also --input" in itself.stderr
    assert list(tmp_path.iterdir()) == [path]


def test_force_replaces_what_belongs_to_an_output_and_keeps_the_rest(deep, tmp_path):
    path, words = tmp_path / "planted.cool", ("--resolution=100kb", "--loops=1", "--force")
    belongs, picture = tmp_path / "planted.cool.bedpe", tmp_path / "planted.png"
    for file in (path, belongs, picture):
        file.write_text("old")
    failed = run_hicfm("simulate", path, f"--input={deep}", *words, "--seed=-1")
    assert failed.returncode == 2 and belongs.read_text() == "old"
    done = run_hicfm("simulate", path, f"--input={deep}", *words)
    assert done.returncode == 0, done.stderr
    assert belongs.read_text().startswith("chrom1") and picture.read_text() == "old"
    assert sorted(tmp_path.iterdir()) == [path, belongs, picture]


def test_configs_are_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = str(ROOT / "configs/pretrain_arabidopsis.py")
    for name in ("pretrain_arabidopsis", "pretrain_arabidopsis.py", "configs/pretrain_arabidopsis.py"):
        assert cli.find_config(f"{name}:demo") == f"{file}:demo"
    assert cli.find_config("mine.py") == "mine.py"
    (tmp_path / "pretrain_arabidopsis.py").touch()
    assert cli.find_config("pretrain_arabidopsis.py") == "pretrain_arabidopsis.py"


def test_only_the_last_of_a_repeated_setting_counts():
    words = ["--config.model.input_size=32,32", "--input=a", "--input=b", "--config.model.input_size=64,64"]
    assert cli.last_of_settings(words) == ["--input=a", "--input=b", "--config.model.input_size=64,64"]


def test_importing_the_package_takes_no_time():
    program = (
        "import sys, time; start = time.perf_counter(); import hicfm_jax\n"
        "print(time.perf_counter() - start, {'jax', 'numpy', 'absl'} & set(sys.modules))"
    )
    found = [
        subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT
        ).stdout.split()
        for _ in range(3)
    ]
    assert min(float(seconds) for seconds, _ in found) < 0.3 and found[0][1] == "set()"


def test_species_are_known_by_their_lengths():
    arabidopsis = {"1": 30427671, "2": 19698289, "3": 23459830, "4": 18585056, "5": 26975502, "Pt": 154478}
    longest = longest_chromosomes(arabidopsis)
    assert guess_species(longest) == "Arabidopsis thaliana (TAIR10)"
    longer = [round(length * 1.01) for length in longest]
    assert guess_species(longer) == "perhaps Arabidopsis thaliana (TAIR10)" and same_species(longest, longer)
    assert guess_species([1000, 900, 800]) == guess_species([1000]) == guess_species([]) == ""


def test_info_of_a_map(deep):
    shown = run_hicfm("info", deep)
    assert shown.returncode == 0, shown.stderr
    for words in ("100,000 bp", "Chr1, Chr2", "Arabidopsis thaliana (TAIR10)"):
        assert words in shown.stdout
    assert f"{open_contacts(deep).total_count:,.0f}" in shown.stdout


def test_info_of_a_map_with_several_resolutions(deep, tmp_path):
    path = tmp_path / "deep.mcool"
    write_contacts(open_contacts(deep), path)
    shown = run_hicfm("info", path)
    assert shown.returncode == 0 and "100,000, 200,000" in shown.stdout
    missing = run_hicfm("info", tmp_path / "nothing.mcool")
    assert missing.returncode == 2 and "nothing.mcool" in missing.stderr


def test_info_of_tiles(tmp_path):
    with zipfile.ZipFile(ROOT / "tests/tiles/data/tiles_v2.zip") as archive:
        archive.extractall(tmp_path)
    shown = run_hicfm("info", tmp_path)
    assert shown.returncode == 0, shown.stderr
    for words in (
        "32 x 32 bins at 1,000 bp",
        "3 tiles of leaf (3)",
        "1 tiles of leaf (1); B",
        "10,957 contacts",
    ):
        assert words in shown.stdout


def test_info_of_a_checkpoint(tmp_path):
    maps = {"deep": {"resolution": 30_000, "longest": [30_427_671, 26_975_502, 23_459_830]}}
    write_checkpoint(tmp_path / "net", **SEEN, maps=maps)
    shown = run_hicfm("info", tmp_path / "net")
    assert shown.returncode == 0, shown.stderr
    for words in (
        *("step 7", "resolution", "vit_test, windows of 32 x 32 bins", "deep: Chr1", "80,000 contacts"),
        *("Chr1; Arabidopsis thaliana (TAIR10)", "30,000 bp", "0.31% to 50.00%"),
    ):
        assert words in shown.stdout
    missing = run_hicfm("info", tmp_path)
    assert missing.returncode == 2 and "holds no checkpoint" in missing.stderr


def test_next_commands_are_those_that_are_installed(monkeypatch):
    assert cli.called("make_tiles").endswith(" scripts/make_tiles.py")
    for module, name in cli.COMMANDS.items():
        assert programs.PROGRAMS[name].module == module
    with monkeypatch.context() as patch:
        patch.setattr("sys.argv", ["hicfm experiment", "leaf.mcool"])
        assert cli.called("make_tiles") == "hicfm tiles" and cli.called("train") == "hicfm train"
    monkeypatch.setattr(cli, "checkout", lambda: None)
    assert cli.called("make_tiles") == "hicfm tiles"
