"""Progress bars: shown on a terminal and in a notebook, hidden in a log file."""

import sys


def hidden() -> bool | None:
    """Return the argument `disable` of tqdm: false in a notebook; `None`, unless there is a terminal, hides the bar."""
    # The output of a notebook is not a terminal, but shows the bar.
    return False if "ipykernel" in sys.modules else None
