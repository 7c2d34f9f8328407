"""The base of all problems: fingerprints, checkpoints, and the durations of stages."""

from dataclasses import dataclass, replace

import pytest

from tfbert.config import Config, override
from tfbert.encoder.backbone import load_encoder
from tfbert.training.base_problem import BaseProblem, timed
from tfbert.training.distribution import ALONE


@dataclass(frozen=True, kw_only=True)
class Numbers(BaseProblem[Config]):
    """A problem whose data is a number."""

    number: int

    def identity(self, config):
        return [config.to_dict(), self.number]


@pytest.fixture(scope="module")
def problem():
    return Numbers(config=Config(), encoder=load_encoder("tiny"), seconds={}, replicas=ALONE, number=3)


def test_the_fingerprint_changes_with_config_data_and_encoder(problem):
    config = override(problem.config, {"train.seed": 1})
    encoder = replace(problem.encoder, spec=replace(problem.encoder.spec, commit="abc"))
    changed_problems = [replace(problem, config=config), replace(problem, number=4), replace(problem, encoder=encoder)]
    assert len({changed.fingerprint() for changed in (problem, *changed_problems)}) == 4
    assert problem.fingerprint(config) == changed_problems[0].fingerprint() != problem.fingerprint()
    assert replace(problem, seconds={"read": 1.0}).fingerprint() == problem.fingerprint()


def test_checkpoints_belong_to_the_fingerprint_of_their_config(problem, tmp_path):
    config = override(problem.config, {"train.checkpoint_seconds": 7.5})
    checkpoints = problem.checkpoints(tmp_path, config)
    assert (checkpoints.run_dir, checkpoints.seconds) == (tmp_path, 7.5)
    assert checkpoints.fingerprint == problem.fingerprint(config)
    assert problem.checkpoints(tmp_path).fingerprint == problem.fingerprint()


def test_stages_are_timed(monkeypatch):
    clock = iter([10.0, 12.5, 20.0, 21.0])
    monkeypatch.setattr("tfbert.training.base_problem.time.monotonic", lambda: next(clock))
    seconds = {}
    with timed(seconds, "read"):
        assert seconds == {}
    with timed(seconds, "tokenize"):
        pass
    assert seconds == {"read": 2.5, "tokenize": 1.0}
