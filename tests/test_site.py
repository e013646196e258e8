"""The website of docs/: it builds strictly, loads nothing from elsewhere, and fits a phone."""

import re
import subprocess
import sys

import pytest

from tests.commands import ROOT


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return list(folder.rglob("*.html"))


@pytest.mark.slow  # renders every page
@pytest.mark.needs("mkdocs")
def test_the_site_builds_without_warnings_and_loads_no_foreign_files(pages):
    assert len(pages) > len(list((ROOT / "docs").rglob("*.md")))
    loaded = re.compile(r"<(?:script|img|iframe|link)\b[^>]*\b(?:src|href)=[\"']?(?:https?:)?//")
    for page in pages:
        assert not loaded.search(page.read_text()), f"{page.name} loads a file from elsewhere"


@pytest.mark.slow  # opens every page
@pytest.mark.needs("mkdocs", "selenium")
def test_every_page_fits_a_desktop_and_a_phone(pages, open_page):
    for page in pages:
        if page.name == "404.html":  # its links begin at the root of a server
            continue
        open_page(page, 390, 1280)


def test_every_script_and_config_is_in_the_reference_of_commands():
    text = (ROOT / "docs/reference/commands.md").read_text()
    named = set(re.findall(r"^\| `(?:scripts/)?(\w+\.py)`", text, flags=re.MULTILINE))
    assert named == {path.name for folder in ("scripts", "configs") for path in (ROOT / folder).glob("*.py")}
