"""Progress bar of a training with the time left for all epochs; a log file gets one line with this time."""

import functools
import logging

from tqdm import tqdm

from tfbert.evaluation.formatting import duration
from tfbert.progress_bars import hidden
from tfbert.training.monitoring import Evaluator
from tfbert.training.objectives import Objective
from tfbert.training.progress import Progress

logger = logging.getLogger(__name__)

# The first update builds the graph, so it is not measured; a few more make the mean stable.
_MIN_UPDATES, _MIN_SECONDS = 4, 1.0
# A shorter training is not worth a line in a log file.
_MIN_LOGGED_SECONDS = 20.0


class Display:
    """Shows the progress of a training on a terminal or in a log file.

    Args:
        objective: the first objective of the training.
        evaluator: its schedule determines the evaluations that are still to come.
        num_updates: number of updates of the whole training.
        logs: whether to log the time left if there is no terminal.
    """

    def __init__(self, objective: Objective, evaluator: Evaluator, num_updates: int, logs: bool):
        self._objective, self._evaluator, self._num_updates = objective, evaluator, num_updates
        self._bar: tqdm | None = None
        self._num_timed, self._seconds, self._logs = -1, 0.0, logs

    def open(self, update: int) -> None:
        """Open the bar unless it is open; with a schedule by epoch, there is one bar per epoch.

        Args:
            update: number of updates so far.
        """
        if self._bar is not None:
            return
        # A log file has no bar, which keeps it readable.
        bar_format = "{desc} {percentage:3.0f}%|{bar}| {rate_fmt}{postfix}"
        show = functools.partial(tqdm, mininterval=0.5, disable=hidden(), dynamic_ncols=True, bar_format=bar_format)
        objective = self._objective
        if not self._evaluator.schedule.by_epoch:
            self._bar = show(total=self._num_updates, initial=update, desc=objective.name, unit=" updates")
            return
        epoch, num_done = divmod(update, objective.updates_per_epoch)
        sizes = [len(indices) for indices, *_ in objective.plan(epoch)]
        initial = sum(sizes[: num_done * objective.accumulation_steps])
        title = f"epoch {epoch + 1}/{objective.num_epochs}"
        self._bar = show(total=sum(sizes), initial=initial, desc=title, unit=" examples", leave=False)

    def update(self, progress: Progress, num_examples: int, num_tokens: int, loss: float, seconds: float) -> None:
        """Show an update.

        Args:
            progress: the progress after the update.
            num_examples: number of examples of the first objective in the update.
            num_tokens: number of tokens in the update; 0 if they are not counted.
            loss: its loss.
            seconds: its duration.
        """
        self._num_timed += 1
        self._seconds += seconds if self._num_timed else 0.0
        left = self.seconds_left(progress)
        values = [f"loss {loss:.3f}"]
        values += [f"{num_tokens / seconds:,.0f} tokens/s"] if num_tokens else []
        values += [] if left is None else [f"{_rounded(left)} left in total"]
        self._bar.set_postfix_str(", ".join(values), refresh=False)
        self._bar.update(num_examples if self._evaluator.schedule.by_epoch else 1)
        if left is not None and self._logs:
            self._logs = False
            if self._bar.disable and left >= _MIN_LOGGED_SECONDS:
                logger.info("%s", self._announcement(progress, left))

    def close(self) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def seconds_left(self, progress: Progress) -> float | None:
        """Return the estimated seconds to the end of training, with evaluations; `None` before enough was measured.

        The evaluations are included as soon as there has been one.
        """
        if self._num_timed < _MIN_UPDATES or self._seconds < _MIN_SECONDS:
            return None
        updates = (self._num_updates - progress.update) * self._seconds / self._num_timed
        evaluated = progress.history[-1].update if progress.history else -1
        schedule = self._evaluator.schedule
        num_evaluations = sum(update > evaluated for update in schedule.updates)
        # Averages with and without the weights before training.
        num_averages = min(1, self._evaluator.num_averaged) * (2 if 0 in schedule.updates else 1)
        per_evaluation = progress.history[-1].evaluation_seconds if progress.history else 0.0
        return updates + (num_evaluations + num_averages) * per_evaluation

    def _announcement(self, progress: Progress, left: float) -> str:
        schedule, title = self._evaluator.schedule, self._evaluator.title
        total = f"{self._objective.num_epochs} epochs" if schedule.by_epoch else f"{self._num_updates:,} updates"
        is_start = progress.update <= _MIN_UPDATES + 1 or progress.update < self._objective.updates_per_epoch
        included = f"including {title}" if progress.history else f"without {title}"
        early = ", unless training stops early" if schedule.patience else ""
        return f"about {_rounded(left)} left for {'all' if is_start else 'the rest of'} {total}, {included}{early}"


def _rounded(seconds: float) -> str:
    return duration(seconds) if seconds >= 60 else f"{seconds:.0f} s"
