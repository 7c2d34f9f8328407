"""An audit on a terminal: findings first, then tables, and what it cannot see."""

from dataclasses import replace

import numpy as np

from tfbert.audit.groups import Gap, GroupAudit, Grouping, GroupScores, LabelRates, SubgroupAreas
from tfbert.audit.run import Audit
from tfbert.audit.shortcuts import Shortcut, ShortcutAudit
from tfbert.audit.statistics import Estimate
from tfbert.audit.swaps import Direction, SwapAudit, SwappedText
from tfbert.commands.audit_view import print_audit
from tfbert.evaluation.classification import ACCURACY

HALF = Estimate(0.5, 0.4, 0.6)
UNDEFINED = Estimate(np.nan, np.nan, np.nan)
RATES = tuple(LabelRates(label, 20, 20, Estimate(0.7, 0.5, 0.8), None) for label in ("no", "yes"))
GROUPS = (
    GroupScores("female", 40, True, HALF, RATES, SubgroupAreas(HALF, Estimate(0.25, 0.2, 0.3), UNDEFINED)),
    GroupScores("male", 12, False, Estimate(0.9, 0.8, 1.0), RATES),
)
GAP = Gap("true positive rate of 'yes'", "male", "female", Estimate(0.2, 0.1, 0.3), 0.12, 0.003)
TOKEN = Shortcut("zx", "yes", 31, 1.0, 0.5, 9.25)
AUDIT = Audit(
    num_texts=1200,
    metric=ACCURACY,
    has_labels=True,
    mitigations={"train.counterfactuals": "gender"},
    groups=(GroupAudit(Grouping("gender", "words", ("female", "male"), np.zeros(0, int), 3), GROUPS, GAP),),
    swaps=(
        SwapAudit(
            "gender",
            ("female", "male"),
            52,
            9,
            True,
            HALF,
            Estimate(0.1, 0.05, 0.15),
            (Direction("yes", Estimate(-0.125, -0.2, -0.05), True),),
            (SwappedText("a.csv:7", ("She won",), ("He won",), 0.4, "yes 0.90", "no 0.50"),),
        ),
    ),
    shortcuts=ShortcutAudit("the audited data", 900, 77, 2, (TOKEN,), 4, None, 30, HALF),
    unmentioned=("religions",),
)


def test_an_audit_is_printed(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    print_audit(AUDIT)
    out = " ".join(capsys.readouterr().out.split())
    assert (
        "Audit of 1,200 texts" in out and "Trained with train.counterfactuals=gender. Whether that reduced bias" in out
    )
    assert "with a term of male in place of female, the probability of 'yes' is 0.125 lower (interval 0.050 to" in out
    assert "the true positive rate of 'yes' is 0.200 higher for female than for male; random groups" in out
    assert "female 40 0.500 0.400 0.600 0.700 – 0.500 0.250 –" in out and "too few texts to judge: male" in out
    assert "3 texts mention several groups" in out and "(p = 0.003; groupings tested: 1): more than chance." in out
    assert "gender female – male 52 9 0.500 0.400 0.600 0.100 0.050 0.150" in out
    assert "gender male female yes -0.125 -0.200 -0.050" in out and "0.400 He won (yes 0.90 → no 0.50)" in out
    assert "No text mentions a term of: religions." in out
    assert "2 of 77 tokens, counted in 900 texts (the audited data)" in out and "zx yes 31 1.000 0.500 9.2" in out
    assert "points to another label 4 – – –" in out and "points to the label 30 0.500" in out
    assert "not of being a member of a group" in out


def test_an_audit_of_a_regression_without_findings(capsys):
    scores = (GroupScores("north", 40, True, HALF, mean_error=Estimate(-0.25, -0.5, 0.0)),)
    group = GroupAudit(Grouping("region", "column 'region'", ("north",), np.zeros(0, int)), scores, None)
    print_audit(replace(AUDIT, has_labels=False, mitigations={}, groups=(group,), swaps=(), unmentioned=()))
    out = " ".join(capsys.readouterr().out.split())
    assert "No group differs from another" in out and "north 40 0.500 0.400 0.600 -0.250" in out
    assert "Swap test" not in out and "Trained with" not in out and "mean value" in out
