"""The report of a run as a mapping, and as a page in a notebook."""

import html
import re
import shutil

from support import small

from tfbert.api.report import Report
from tfbert.files import REPORT


def test_the_report_is_a_mapping_and_a_page_in_a_frame(tmp_path):
    run_dir = small.finished_run()[0]
    report = Report(run_dir)
    assert report["test"]["metrics"].keys() == report["validation"]["metrics"].keys()
    assert len(report) == len(list(report)) and "history" in report
    lines = repr(report).splitlines()
    assert lines[0].startswith("test accuracy ") and lines[-1] == f"report      {run_dir / 'report.html'}"
    frame = report._repr_html_()
    page = re.fullmatch(r'<iframe sandbox="allow-scripts allow-popups" [^>]*srcdoc="([^"]*)"></iframe>', frame)[1]
    assert html.unescape(page) == (run_dir / "report.html").read_text(encoding="utf-8")
    assert "<" not in page
    shutil.copy(run_dir / REPORT, tmp_path)
    assert Report(tmp_path)._repr_html_() is None
