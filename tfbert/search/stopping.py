"""The course of a trial and of those before it in, whether it is hopeless out."""

import statistics
from collections.abc import Sequence

# Before a third of its epochs nothing is said, and not before so many others have ended.
_EARLIEST_FRACTION = 1 / 3
_FEWEST_OTHERS = 4


def is_hopeless(history: Sequence[float], epochs: int, others: Sequence[tuple[Sequence[float], int]]) -> bool:
    """Say whether a trial is worse so far than half of the others were at the same point.

    The point is a share of the epochs, since trials of one search may have different numbers of them, and the learning
    rate falls with that share.

    Args:
        history: the objective after every epoch so far, higher is better.
        epochs: that the trial would have.
        others: the same of trials that have ended, stopped ones too.

    Source: Golovin et al. 2017, "Google Vizier", section 3.2.1, the median stopping rule. Ours compares by the share of
        epochs and the best so far, not by steps and the mean so far.
    """
    fraction = len(history) / epochs
    if fraction < _EARLIEST_FRACTION or len(history) >= epochs:
        return False
    reached = []
    for other, of_other in others:
        then = int(fraction * of_other)
        # One that was stopped before this point tells what it had, which was already too little.
        if then >= 1 and other:
            reached.append(max(other[:then]))
    return len(reached) >= _FEWEST_OTHERS and max(history) < statistics.median(reached)
