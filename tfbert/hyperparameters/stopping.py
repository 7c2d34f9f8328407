"""Early stopping of trials by the median rule."""

import statistics
from collections.abc import Sequence

# No trial is stopped before this fraction of its epochs, or before this number of other trials has reached it.
_MIN_FRACTION = 1 / 3
_MIN_OTHERS = 4


def should_stop_early(history: Sequence[float], epochs: int, others: Sequence[tuple[Sequence[float], int]]) -> bool:
    """Return whether the best score of a trial so far is worse than the median of other trials at the same point.

    The same point is the same fraction of the epochs, because trials may have different numbers of epochs, and the
    learning rate decays with that fraction.

    Args:
        history: the objective after every epoch so far; higher is better.
        epochs: number of epochs of the whole trial.
        others: the same two values of each trial that has ended or was stopped.

    Source: Golovin et al. 2017, "Google Vizier", section 3.2.1, the median stopping rule. Ours compares the best score
        so far at a fraction of the epochs, not the mean so far at a number of steps.
    """
    fraction = len(history) / epochs
    if fraction < _MIN_FRACTION or len(history) >= epochs:
        return False
    best_scores = []
    for other_history, other_epochs in others:
        epoch = int(fraction * other_epochs)
        # A trial that was stopped before this epoch counts with the score it had reached.
        if epoch >= 1 and other_history:
            best_scores.append(max(other_history[:epoch]))
    return len(best_scores) >= _MIN_OTHERS and max(history) < statistics.median(best_scores)
