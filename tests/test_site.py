"""The website of docs/: it builds strictly and loads nothing from elsewhere."""

import re
import subprocess
import sys

import pytest

from tests.commands import ROOT


@pytest.mark.slow  # renders every page
@pytest.mark.needs("mkdocs")
def test_the_site_builds_without_warnings_and_loads_no_foreign_files(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > len(list((ROOT / "docs").rglob("*.md")))
    loaded = re.compile(r"<(?:script|img|iframe|link)\b[^>]*\b(?:src|href)=[\"']?(?:https?:)?//")
    for page in pages:
        assert not loaded.search(page.read_text()), f"{page.name} loads a file from elsewhere"


def test_every_script_and_config_is_in_the_reference_of_commands():
    text = (ROOT / "docs/reference/commands.md").read_text()
    named = set(re.findall(r"^\| `(?:scripts/)?(\w+\.py)`", text, flags=re.MULTILINE))
    assert named == {path.name for folder in ("scripts", "configs") for path in (ROOT / folder).glob("*.py")}
