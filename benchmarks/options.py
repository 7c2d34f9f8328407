"""What the command line passes to a benchmark."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of one command.

    Args:
        data_dir: absolute path; holds one folder per data set.
        out_dir: absolute path; for runs, exports and the table as JSON.
        only: names of the data sets to measure; empty for all.
        repeats: number of seeds or repeats; `None` for the benchmark's own default.
        check_repeatability: train twice and compare the bytes of the weights.
        run_dir: absolute path of the run to serve; `None` trains one.
        settings: config paths and values to try instead of the defaults.
        against: absolute path of the checkout of another version to compare with.
        max_examples: largest training split of a converted data set; `None` uses all.
        num_seconds: seconds of load for each server and number of clients.
    """

    data_dir: Path
    out_dir: Path
    only: Sequence[str] = ()
    repeats: int | None = None
    check_repeatability: bool = False
    run_dir: Path | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    against: Path | None = None
    max_examples: int | None = None
    num_seconds: float = 60.0

    def check_only(self, known: Iterable[str]) -> None:
        """Check that every name of `only` is known.

        Raises:
            ValueError: one is not.
        """
        names = list(known)
        for name in self.only:
            if name not in names:
                raise ValueError(f"--only '{name}' is not one of {', '.join(names)}")

    def existing(self, path: str, what: str) -> Path:
        """Return a path below `data_dir`.

        Raises:
            ValueError: it does not exist; the message names `what` belongs there.
        """
        if not (self.data_dir / path).exists():
            raise ValueError(f"{self.data_dir / path}: does not exist; it holds {what}")
        return self.data_dir / path
