"""Reports in a browser: they fit, and their matrices are zoomed together."""

import io
import re

import numpy as np
import PIL.Image
import pytest

from hicfm_jax.evaluate.report import html


@pytest.fixture(scope="module")
def page(comparison, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(html.render(comparison), encoding="utf-8")
    return path


def windows(browser):
    """What each matrix shows, `x y width height` in kb; one value if all show the same."""
    return set(values(browser, "svg", "each.getAttribute('viewBox')"))


def values(browser, selector, value):
    """A JavaScript value of each element, asked for at once: a question takes milliseconds."""
    return browser.execute_script(
        f"return Array.from(document.querySelectorAll('{selector}'), each => {value})"
    )


def axes(browser):
    """Ends of the axes of all matrices, Mb: left, right, top, bottom."""
    names = ("left", "right", "top", "bottom")
    texts = [set(values(browser, f".{name}", "each.innerText")) for name in names]
    assert all(len(each) == 1 for each in texts)
    return [float(each.pop()) for each in texts]


@pytest.mark.slow  # draws a report and starts a browser
@pytest.mark.needs("selenium")
@pytest.mark.parametrize("width", [1280, 390])
def test_matrices_are_zoomed_and_moved_together(page, open_page, width):
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.actions.wheel_input import ScrollOrigin

    browser = open_page(page, width)
    maps = browser.find_elements("css selector", "svg")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", maps[1])
    whole, ends = windows(browser), axes(browser)
    assert len(maps) == 15 and len(whole) == 1 and ends[0] == ends[2] == 0 and ends[1] == ends[3]
    origin = ScrollOrigin.from_element(maps[1], 40, -40)
    ActionChains(browser).scroll_from_origin(origin, 0, -300).perform()
    assert windows(browser) == whole  # until the maps are chosen, the wheel belongs to the page
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", maps[1])
    ActionChains(browser).click(maps[1]).perform()
    ActionChains(browser).scroll_from_origin(origin, 0, -500).perform()
    near = axes(browser)
    assert windows(browser) != whole and len(windows(browser)) == 1
    assert near[1] - near[0] == pytest.approx(ends[1] / np.e, abs=0.02) and near[0] > near[2] > 0
    readout = browser.find_element("tag name", "output").text
    assert re.fullmatch(r"Chr4: \d+\.\d\d x \d+\.\d\d Mb, \d+\.\d\d Mb apart", readout)
    ActionChains(browser).drag_and_drop_by_offset(maps[1], -50, 0).perform()
    assert axes(browser)[0] > near[0] and axes(browser)[2] == near[2]
    ActionChains(browser).send_keys("0").perform()
    assert windows(browser) == whole and axes(browser) == ends
    ActionChains(browser).send_keys("+").perform()
    assert axes(browser)[1] - axes(browser)[0] == pytest.approx(ends[1] / 2, abs=0.01)
    assert browser.get_log("browser") == []


@pytest.mark.slow  # draws a report and starts a browser
@pytest.mark.needs("selenium")
def test_a_matrix_looks_like_its_counts(page, open_page, comparison):
    """Half of a matrix is stored; the picture has both halves, dark where there are many contacts."""
    browser = open_page(page, 1280)
    last = browser.find_element("css selector", "svg[aria-label^=reference]")
    shown = np.asarray(PIL.Image.open(io.BytesIO(last.screenshot_as_png)).convert("L"), float)[2:-2, 2:-2]
    size = min(shown.shape)
    shown = shown[:size, :size]
    assert np.corrcoef(shown.ravel(), shown.T.ravel())[0, 1] > 0.95
    counts = comparison.chromosomes[0].thumbnails["reference"].image
    places = (np.arange(size) * len(counts)) // size
    assert np.corrcoef(-shown.ravel(), np.log(1 + counts[np.ix_(places, places)]).ravel())[0, 1] > 0.8
