"""The script of the pages in a browser: all rows, filters by links, and no script but the page's own."""

import html
import re
import shutil
import subprocess

import pytest

from tfbert.evaluation import report_page

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
EVIL = "<img src=x onerror=\"document.title='broken'\"><script>document.title='broken'</script>"

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")]


@pytest.fixture(scope="module")
def dump(tmp_path_factory):
    """Return a function that opens the page at a hash and returns its elements after the script has run."""
    folder = tmp_path_factory.mktemp("page")
    mistakes = [
        {
            "texts": [f"text {number} {EVIL}"],
            "gold": "a&b" if number % 2 else EVIL,
            "predicted": "c",
            "confidence": 0.99 - number / 200,
            "confused": [["a&b" if number % 2 else EVIL, "c"]],
            "where": f"test.csv:{number}",
        }
        for number in range(150)
    ]
    details = {"mistakes": mistakes, "split": "test"}
    report_page.render({"task": "classification", "command": "run me"}, details, folder / "report.html")

    def open_page(fragment=""):
        command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        command += ["--no-first-run", f"--user-data-dir={folder / 'profile'}", "--dump-dom"]
        address = (folder / "report.html").as_uri() + fragment
        return subprocess.run([*command, address], capture_output=True, text=True, check=True, timeout=120).stdout

    return open_page


def _entries(page):
    return re.findall(r"<li>.*?</li>", re.search(r"<ol.*?</ol>", page, re.DOTALL).group(), re.DOTALL)


def _status(page):
    return re.search(r'<p class="quiet" role="status">(.*?)</p>', page).group(1)


def test_all_mistakes_are_listed_in_pages_and_texts_are_not_markup(dump):
    page = dump()
    assert len(_entries(page)) == 100 and _status(page) == "150 of 150 texts, 1 to 100 shown"
    assert "<title>broken" not in page and "<img" not in page
    assert html.escape(f"text 7 {EVIL}", quote=False) in page
    assert re.search(r'<button type="button" class="copy">copy</button><pre>run me</pre>', page)


def test_a_link_shows_the_mistakes_with_its_labels(dump):
    page = dump("#mistakes?true=a%26b&predicted=c")
    entries = _entries(page)
    assert len(entries) == 75 and _status(page) == "75 of 150 texts"
    assert all('<b dir="auto">a&amp;b</b>' in re.sub(' class=""', "", entry) for entry in entries)
    assert _status(dump("#mistakes?true=never")) == "150 of 150 texts, 1 to 100 shown"
