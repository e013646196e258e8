"""Certificates of maps whose truth is known."""

import json

import numpy as np
import pytest
import scipy.sparse

from hicfm_jax.contacts import ContactMap, write_contacts
from hicfm_jax.contacts.contact_map import ENHANCEMENT
from hicfm_jax.errors import InputError
from hicfm_jax.evaluate.certificate import CIS, SEEN, certify, total_deviance, verdict, write_certificate
from tests.run_script import run_script

SIZES, SIZE, DEEP = {"Chr1": 200_000}, 200, 16.0
FILTERS = ["Gaussian", "coverage-aware Gaussian", "coverage-aware blend"]


def contact_map(upper, name, **options):
    return ContactMap(
        SIZES, 1000, {("Chr1", "Chr1"): scipy.sparse.csr_array(np.triu(upper))}, name, **options
    )


@pytest.fixture(scope="module")
def reads():
    """(intensity, fitted, held out): a map with structure of single bins, which filters blur."""
    rng = np.random.default_rng(0)
    distance = np.abs(np.subtract.outer(np.arange(SIZE), np.arange(SIZE)))
    intensity = np.triu(600 / (1 + distance) ** 0.8 * rng.gamma(3.0, 1 / 3, (SIZE, SIZE)))
    fitted, held_out = (rng.poisson(intensity * part) for part in (0.9, 0.1))
    return intensity, contact_map(fitted, "fitted"), contact_map(held_out, "held out")


def enhanced(mean, sd=None):
    deviations = None if sd is None else contact_map(sd, "sd")
    about = {ENHANCEMENT: {"target_contacts": float(np.triu(mean).sum())}}
    return contact_map(mean, "enhanced", metadata=about, sd=deviations)


def test_the_truth_beats_filters_and_its_intervals_cover(reads, tmp_path):
    """Estimates that deviate from the intensity by as much as they say.

    On the diagonal the input has so many contacts that it needs no filter.
    """
    intensity, fitted, held_out = reads
    shape = 30.0  # posterior of the intensity: its mean is off by a gamma draw of relative sd 30 ** -0.5
    estimate = DEEP * intensity / np.random.default_rng(1).gamma(shape, 1 / shape, intensity.shape)
    found = certify(enhanced(estimate, estimate / shape**0.5), fitted, held_out)
    assert found["verdict"].endswith("better than every filter beyond 1 kb, and no better elsewhere.")
    for region in ("overall", "near", "middle", "far"):
        assert found["intervals"][region]["90"] == pytest.approx(0.9, abs=0.03), region
        assert found["intervals"][region]["50"] == pytest.approx(0.5, abs=0.04), region
    # The pixels vary with a shape of 3, which is what a filter that knows nothing of them leaves open.
    widths = found["interval_widths"]
    assert widths["network"] < widths["coverage-aware Gaussian"] < 1.5 * widths["network"]
    assert len(found["pit"]) == 10 and sum(found["pit"]) == pytest.approx(1)
    path = write_certificate(found, tmp_path)
    assert json.loads(path.read_text())["strata"][0]["from_bp"] == 0
    assert sum(each["contacts"] for each in found["strata"]) == held_out.total_count


def test_intervals_that_are_too_narrow_are_told(reads):
    intensity, fitted, held_out = reads
    off = DEEP * intensity * np.random.default_rng(1).gamma(4.0, 1 / 4, intensity.shape)
    found = certify(enhanced(off, off / 100), fitted, held_out)
    assert found["intervals"]["near"]["90"] < 0.8
    assert found["pit"][0] > 0.13 and found["pit"][-1] > 0.12


def test_a_map_without_structure_does_not_beat_the_filters(reads):
    intensity, fitted, held_out = reads
    flat = np.triu(np.full_like(intensity, intensity.mean() * DEEP))
    found = certify(enhanced(flat), fitted, held_out)
    assert "no better than the filters at any distance: use a filter" in found["verdict"]
    assert "intervals" not in found
    far = found["strata"][-1]
    assert far["decay_ratio"] > 1.5 and set(far["deviance"]) == {"network", *FILTERS}


@pytest.mark.parametrize(
    ("signs", "words"),
    [
        ("---", "better than every filter at all distances."),
        ("0+0", "no better than the filters at any distance"),
        ("00-", "better than every filter beyond 4 kb, and no better elsewhere."),
        ("+--", "better than every filter beyond 2 kb, and worse than one elsewhere."),
        ("-00", "better than every filter from 0 kb to 2 kb, and no better elsewhere."),
        ("-0-", "from 0 kb to 2 kb and beyond 4 kb, and no better elsewhere."),
    ],
)
def test_the_verdict_says_where(signs, words):
    strata = [
        {
            "from_bp": 2000 * i,
            "z": {FILTERS[0]: {"-": -9.0, "0": 1.0, "+": 9.0}[sign], **dict.fromkeys(FILTERS[1:], -9.0)},
        }
        for i, sign in enumerate(signs)
    ]
    assert words in verdict(strata, FILTERS)


def test_a_map_of_unknown_depth_is_refused(reads):
    intensity, fitted, held_out = reads
    with pytest.raises(InputError, match="does not state the depth"):
        certify(contact_map(intensity, "deep"), fitted, held_out)
    other = ContactMap(SIZES, 500, {})
    with pytest.raises(InputError, match="other bins"):
        certify(enhanced(intensity), fitted, other)
    with pytest.raises(InputError, match="give contacts that were set aside"):
        certify(enhanced(intensity), fitted, fitted)


def test_distances_without_contacts_have_finite_figures(reads):
    """As the corners of most maps: there the network may predict nothing, and a read may be set aside."""
    intensity, fitted, held_out = reads
    near = np.abs(np.subtract.outer(np.arange(SIZE), np.arange(SIZE))) < SIZE // 2
    sparse = contact_map(fitted.matrix("Chr1").toarray() * near, "sparse")
    found = certify(enhanced(DEEP * intensity * near, intensity * near), sparse, held_out)
    json.dumps(found, allow_nan=False)
    assert found["strata"][-1]["contacts"] > 0


def test_what_the_network_has_seen_is_told(reads):
    intensity, fitted, held_out = reads
    deep = enhanced(DEEP * intensity)
    assert certify(deep, fitted, held_out)["notes"][0].startswith("Contacts within chromosomes are judged")
    about = deep.metadata[ENHANCEMENT]
    about |= {
        "trained_on": {"own": ["Chr1"], "leaf": ["1"], "of unknown lengths": ["Chr1"]},
        "depths": {"own": fitted.total_count},
        "longest": {"own": [200_000], "leaf": [199_000]},
    }
    _, told, remedy = certify(deep, fitted, held_out)["notes"]
    assert "trained on Chr1 (assay leaf)" in told and remedy == SEEN
    about["trained_on"] = {"own": ["Chr1"], "leaf": ["Chr9"]}
    assert certify(deep, fitted, held_out)["notes"] == [CIS]


def test_the_page_has_the_verdict_and_a_picture_of_each_chromosome(reads, tmp_path, coarse_pictures):
    from hicfm_jax.evaluate.report.certificate_page import write_page

    intensity, fitted, held_out = reads
    deep = enhanced(DEEP * intensity, intensity)
    page = write_page(certify(deep, fitted, held_out), deep, fitted, tmp_path).read_text()
    assert "better than every filter" in page
    assert page.count("data:image/png") == 5  # four maps, one histogram
    assert CIS in page and "90 % interval" in page and "0 to 1 kb" in page


def test_of_several_maps_the_best_is_kept(reads, tmp_path, coarse_pictures):
    intensity, fitted, held_out = reads
    flat = np.triu(np.full_like(intensity, intensity.mean() * DEEP))
    maps = {"flat.cool": enhanced(flat), "true.cool": enhanced(DEEP * intensity)}
    for name, each in {**maps, "fitted.cool": fitted, "held_out.cool": held_out}.items():
        write_contacts(each, tmp_path / name, metadata=each.metadata)
    best, result = tmp_path / "best.cool", tmp_path / "result"
    done = run_script(
        "certify.py",
        f"--enhanced={','.join(str(tmp_path / name) for name in maps)}",
        f"--fitted={tmp_path / 'fitted.cool'}",
        f"--held_out={tmp_path / 'held_out.cool'}",
        f"--best={best}",
        f"--output={result}",
    )
    assert done.returncode == 0, done.stderr
    assert best.read_bytes() == (tmp_path / "true.cool").read_bytes()
    certificate = json.loads((result / "certificate.json").read_text())
    losses = list(certificate["compared"].values())
    assert total_deviance(certificate) == losses[1] < losses[0]
