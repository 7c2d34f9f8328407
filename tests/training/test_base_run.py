"""The steps that all runs share: the lock, a report that already exists, and worker processes."""

import json

import pytest

from tfbert.training import base_run
from tfbert.training.distribution import ALONE, Replicas


class Recorded(Replicas):
    """Replicas that record how they are used, and let a chief decide."""

    def __init__(self, decision=None):
        super().__init__()
        self.__dict__.update(decision=decision, calls=[])

    def broadcast_decision(self, decision):
        self.calls.append("decision")
        return decision if self.decision is None else self.decision

    def barrier(self):
        self.calls.append("barrier")


def test_the_work_is_done_in_the_locked_directory_before_a_barrier(tmp_path):
    replicas = Recorded()

    def work():
        replicas.calls.append("work")
        assert (tmp_path / "run" / ".lock").exists()
        return {"score": 1}

    assert base_run.execute(tmp_path / "run", replicas, work) == {"score": 1}
    assert replicas.calls == ["decision", "work", "barrier"]


def test_a_finished_run_that_awaits_its_export_is_not_repeated(tmp_path):
    report = {"score": 2}
    base_run.execute(tmp_path, ALONE, lambda: finished(tmp_path, report), "mine", exports=True)
    assert base_run.execute(tmp_path, ALONE, pytest.fail, "mine", exports=True) == report
    with pytest.raises(ValueError, match="holds a finished run; expected a new --out directory"):
        base_run.execute(tmp_path, ALONE, pytest.fail, "yours", exports=True)


def finished(run_dir, report):
    (run_dir / "report.json").write_text(json.dumps(report))
    return report


@pytest.mark.parametrize(
    ("is_finished", "calls"), [(False, ["decision", "work", "barrier"]), (True, ["decision", "barrier"])]
)
def test_a_worker_does_its_part_unless_the_chief_has_a_report(is_finished, calls):
    replicas = Recorded(is_finished)
    base_run.assist(replicas, lambda: replicas.calls.append("work"))
    assert replicas.calls == calls
