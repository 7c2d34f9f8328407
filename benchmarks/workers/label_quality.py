"""Rank labels with cleanlab by out-of-fold probabilities: one score per row, the lower the more doubtful.

The job has the paths of the arrays `probabilities` and `labels`, and where to write the `scores`.
"""

import json
import sys
from pathlib import Path

import numpy as np
from cleanlab.rank import get_label_quality_scores


def main() -> None:
    """Do the job that the command line names."""
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    labels, probabilities = np.load(job["labels"]), np.load(job["probabilities"])
    np.save(job["scores"], get_label_quality_scores(labels, probabilities, method="self_confidence"))


if __name__ == "__main__":
    main()
