"""Fixtures: searchers with fake trainings."""

from types import SimpleNamespace

import pytest
from keras_tuner import Objective
from support.search_fakes import FITS, SPACE, quality

from tfbert.config import Config
from tfbert.evaluation.entities import F1
from tfbert.hyperparameters import loop
from tfbert.hyperparameters.loop import Searcher
from tfbert.hyperparameters.oracles import make_oracle
from tfbert.hyperparameters.plan import Plan
from tfbert.training.history import EpochHistory


@pytest.fixture
def trainings(monkeypatch):
    """Replace training with a fake, and return the list of trained configs."""
    trained = []

    def fit(
        problem,
        config,
        run_dir,
        log=lambda *_: None,
        should_stop_early=lambda history: False,
        models=None,
        tracker=None,
    ):
        if config.train.batch_size > FITS:
            raise MemoryError("no more")
        trained.append(config)
        history, epochs = [], config.train.epochs
        for epoch in range(1, epochs + 1):
            score = quality(config) * epoch / epochs
            history.append({"epoch": epoch, "loss": 1.0, "examples_per_second": 1.0, "validation": {"f1": score}})
            log(history[-1], [])
            if should_stop_early(history):
                break
        for name in ("best", "checkpoint"):
            (run_dir / f"{name}.safetensors").write_bytes(b"weights")
        return None, EpochHistory(history, len(history))

    monkeypatch.setattr(loop.run, "fit", fit)
    # Fake trainings leave nothing to clear, and clearing would take longer than everything else.
    monkeypatch.setattr(loop.keras.backend, "clear_session", lambda: None)
    return trained


@pytest.fixture
def make_searcher(tmp_path, trainings):
    """Return a function that makes a searcher as in a new process."""

    def make(space=SPACE, persist=True, name="tuner0", **values):
        config = Config()
        plan = Plan(config=config, space=space, **values)
        plan.check()
        objective = Objective("f1", "max")
        problem = SimpleNamespace(
            training_examples=range(100), config=config, task=SimpleNamespace(monitor=F1, predicts_untrained=True)
        )
        problem.with_config = lambda config: problem
        oracle = make_oracle(plan, objective)
        if persist:
            oracle.persist(tmp_path / "oracle.json", plan.hours)
        return Searcher(plan=plan, problem=problem, objective=objective, out_dir=tmp_path, oracle=oracle, tuner_id=name)

    return make
