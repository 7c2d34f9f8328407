"""Confirmation: the best trials and the default config are trained again with fresh seeds and compared.

The best score of many trials is partly luck, so the best mean score on validation over fresh seeds determines the
winner. The test split decides nothing: predictions on it are stored without scoring, and in the end those of the winner
and of the default config are scored once, against each other.
"""

import logging
import statistics
import time
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
from tqdm import tqdm

from tfbert.evaluation.comparison import paired_bootstrap
from tfbert.evaluation.metric import ScoreFunction
from tfbert.files import WriteError, is_disk_full, read_json, write_json, writing
from tfbert.hyperparameters.hypermodel import metric_of
from tfbert.hyperparameters.loop import OUT_OF_MEMORY, Searcher
from tfbert.hyperparameters.plan import CONFIRMED_TRIALS
from tfbert.hyperparameters.trials import Trial, ranked
from tfbert.progress_bars import hidden
from tfbert.training import run
from tfbert.training.checkpoint import remove_files
from tfbert.training.trackers import open_tracker
from tfbert.training.updates import Diverged

logger = logging.getLogger(__name__)

CONFIRMED = "confirmed"
DEFAULT = "default"
_RESULT = "result.json"
_DECIDED = "decided.npz"


@dataclass(kw_only=True)
class Candidate:
    """A config that may win, and its scores with fresh seeds.

    Args:
        name: `default`, or the id of a trial.
        values: values that differ from the default config, by config path.
        scores: scores of the objective on validation, one per seed.
        best_seed: seed with the best score.
        seconds: duration of its trainings and predictions.
        failed: reason why it cannot win, if a training failed; else empty.
    """

    name: str
    values: dict[str, Any]
    scores: list[float] = field(default_factory=list)
    best_seed: int = 0
    seconds: float = 0.0
    failed: str = ""

    @property
    def mean(self) -> float:
        """The mean score over the seeds."""
        return statistics.mean(self.scores)


def confirm(searcher: Searcher, trials: Sequence[Trial]) -> tuple[list[Candidate], Candidate]:
    """Train the default config and the best trials with fresh seeds.

    Args:
        searcher: a searcher that has finished; its directory keeps the trainings, but only the best weights.
        trials: all trials of the search.

    Returns:
        All candidates, and the one with the best mean score.

    Raises:
        ValueError: no candidate can be trained.
    """
    best = ranked(trials, searcher.higher_is_better)
    candidates = [Candidate(name=DEFAULT, values={})]
    candidates += [Candidate(name=trial.id, values=searcher.values_of(trial)) for trial in best[:CONFIRMED_TRIALS]]
    sign = 1 if searcher.higher_is_better else -1
    winner: Candidate | None = None
    total = len(candidates) * searcher.plan.confirmations
    with tqdm(total=total, desc="confirming", unit=" trainings", leave=False, disable=hidden()) as bar:
        for candidate in candidates:
            _train(searcher, candidate, bar)
            if candidate.failed:
                logger.info("%s failed: %s", named(candidate.name), candidate.failed)
                _remove_weights(searcher, candidate)
                continue
            logger.info("%s: %s %s", named(candidate.name), searcher.objective.name, format_scores(searcher, candidate))
            if winner is None or sign * candidate.mean > sign * winner.mean:
                winner, loser = candidate, winner
            else:
                loser = candidate
            if loser:
                _remove_weights(searcher, loser)
    if winner is None:
        raise ValueError(f"not even the default config can be trained: {candidates[0].failed}")
    return candidates, winner


def named(candidate: str) -> str:
    """Return the name of a candidate for readers, such as `trial 2`."""
    return "the default config" if candidate == DEFAULT else f"trial {candidate}"


def compare(searcher: Searcher, ours: Candidate, theirs: Candidate, split: str) -> dict[str, Any]:
    """Compare two candidates by their stored predictions on a split, paired by seed.

    Returns:
        The fields of the `Difference`, with `split`, and the `mean` and `values` of both candidates as `ours` and
        `theirs`. The difference is positive if ours is better.
    """
    task, metric = searcher.problem.task, metric_of(searcher.problem)
    gold = [task.gold(record) for record in searcher.problem.splits[split]]

    def score_function(folder: Path) -> ScoreFunction:
        outputs, decided = read_outputs(folder, split)
        score = task.evaluate(outputs, gold, decided).score_functions()[metric.name]
        return lambda records: metric.sign * score(records)

    systems = {c.name: [score_function(folder) for folder in _folders(searcher, c)] for c in (ours, theirs)}
    comparison = paired_bootstrap(systems[ours.name], systems[theirs.name], len(gold))
    all_records = np.arange(len(gold))
    sides = {}
    for side, candidate in (("ours", ours), ("theirs", theirs)):
        values = [metric.sign * score(all_records) for score in systems[candidate.name]]
        sides[side] = {"mean": statistics.mean(values), "values": values}
    return {**asdict(comparison), "split": split, **sides}


def best_run(searcher: Searcher, winner: Candidate) -> Path:
    """Return the directory of the winner's best training, which keeps its weights."""
    return _folder(searcher, winner, winner.best_seed)


def format_scores(searcher: Searcher, candidate: Candidate) -> str:
    """Return the mean of a candidate's scores, with the standard deviation if there are several."""
    metric = metric_of(searcher.problem)
    if len(candidate.scores) == 1:
        return metric.format(candidate.mean)
    spread = metric.format_spread(candidate.mean, statistics.stdev(candidate.scores))
    return f"{spread} ({len(candidate.scores)} seeds)"


def _train(searcher: Searcher, candidate: Candidate, bar: tqdm) -> None:
    seeds = _fresh_seeds(searcher)
    for seed, folder in zip(seeds, _folders(searcher, candidate), strict=True):
        result = folder / _RESULT
        if not result.exists():
            folder.mkdir(parents=True, exist_ok=True)
            try:
                outcome = _train_once(searcher, candidate, seed, folder)
            except (Diverged, *OUT_OF_MEMORY) as error:
                if is_disk_full(error):
                    raise WriteError(f"{folder}: cannot be written: the disk is full; free some space") from error
                outcome = {"failed": f"seed {seed}: {error}"}
            finally:
                keras.backend.clear_session()
            write_json(result, outcome)
        outcome = read_json(result)
        bar.update()
        if outcome.get("failed"):
            candidate.failed = outcome["failed"]
            return
        candidate.scores.append(outcome["score"])
        candidate.seconds += outcome["seconds"]
        best = (max if searcher.higher_is_better else min)(candidate.scores)
        candidate.best_seed = seeds[candidate.scores.index(best)]
        # After every training, to limit disk usage to the best weights and those of one training.
        _remove_weights(searcher, candidate, except_seed=candidate.best_seed)


def _train_once(searcher: Searcher, candidate: Candidate, seed: int, folder: Path) -> dict:
    config = searcher.plan.config_of(candidate.values, seed)
    problem = searcher.problem.with_config(config)
    started = time.monotonic()
    with open_tracker(config, folder) as tracker:
        predictor, history = run.fit(problem, config, folder, tracker=tracker)
    predictions, _ = run.predict_held_out(problem, predictor)
    for split, (outputs, _) in predictions.items():
        _write_arrays(folder / f"{split}.npz", outputs)
    _write_arrays(folder / _DECIDED, predictor.decided_values())
    return {"score": history.best_scores[searcher.objective.name], "seconds": time.monotonic() - started}


def _fresh_seeds(searcher: Searcher) -> list[int]:
    """Return seeds that no trial used."""
    first = searcher.plan.config.train.seed + searcher.plan.executions
    return list(range(first, first + searcher.plan.confirmations))


def _folders(searcher: Searcher, candidate: Candidate) -> list[Path]:
    return [_folder(searcher, candidate, seed) for seed in _fresh_seeds(searcher)]


def _folder(searcher: Searcher, candidate: Candidate, seed: int) -> Path:
    return searcher.out_dir / CONFIRMED / candidate.name / f"seed-{seed}"


def _remove_weights(searcher: Searcher, candidate: Candidate, except_seed: int | None = None) -> None:
    for seed in _fresh_seeds(searcher):
        if seed != except_seed:
            remove_files(_folder(searcher, candidate, seed))


def _write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    # Strings as bytes of fixed width, because loading object arrays would unpickle the file.
    plain = {name: values.astype("S") if values.dtype == object else values for name, values in arrays.items()}
    with writing(path):
        np.savez_compressed(path, **plain)


def read_outputs(folder: Path, split: str) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return the outputs for a split and the values of the task's decision.

    Raises:
        ValueError: a file is damaged.
    """
    outputs, decided = _read_arrays(folder / f"{split}.npz"), _read_arrays(folder / _DECIDED)
    texts = {name: values.astype(object) for name, values in outputs.items() if values.dtype.kind == "S"}
    return outputs | texts, decided


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path) as stored:
            return {name: stored[name] for name in stored.files}
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, ValueError) as error:
        advice = f"remove {path.parent} to train this candidate again"
        raise ValueError(f"{path}: damaged ({error}); {advice}") from error


def to_json(candidates: Sequence[Candidate]) -> list[dict]:
    """Return the candidates, ready for JSON."""
    return [asdict(candidate) | ({"mean": candidate.mean} if candidate.scores else {}) for candidate in candidates]
