"""The report of a run: the content of `report.json`, shown as a page in a notebook."""

import html
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tfbert.evaluation.formatting import summary
from tfbert.files import REPORT, read_json
from tfbert.training.base_run import PAGE

_FRAME_HEIGHT = 700


class Report(Mapping[str, Any]):
    """The report of a run: the content of `report.json`, shown as a page in a notebook.

    Args:
        run_dir: the directory of a finished run.

    Attributes:
        page: the path of `report.html`.

    Raises:
        ValueError: the directory contains no finished run.
    """

    def __init__(self, run_dir: Path):
        if not (run_dir / REPORT).exists():
            raise ValueError(f"{run_dir}: contains no finished run; expected a directory with {REPORT}")
        self.page, self._content = run_dir / PAGE, read_json(run_dir / REPORT)

    def __getitem__(self, name: str) -> Any:
        return self._content[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._content)

    def __len__(self) -> int:
        return len(self._content)

    def __repr__(self) -> str:
        scores = summary(self) if "test" in self and "seeds" in self else ""
        return "\n".join(line for line in (scores, f"report      {self.page}") if line)

    def _repr_html_(self) -> str | None:
        """Return the page in a frame for notebooks, whose script cannot reach the notebook; `None` without the page."""
        if not self.page.exists():
            return None
        page = html.escape(self.page.read_text(encoding="utf-8"))
        size = f'width="100%" height="{_FRAME_HEIGHT}" style="border: 0"'
        return f'<iframe sandbox="allow-scripts allow-popups" {size} srcdoc="{page}"></iframe>'
