"""The section `decision` of the config: prediction sets, abstention and out-of-domain detection."""

from dataclasses import dataclass
from typing import Literal

from tfbert.fields import Bounds, check_bounds, training_setting

_PROPER_FRACTION = Bounds("more than 0, below 1", 0, 1, low_excluded=True, high_excluded=True)


@dataclass(frozen=True, kw_only=True)
class DecisionConfig:
    """What the served model decides with its scores, fitted to the calibration split after training."""

    coverage: float | None = training_setting(
        None,
        "fraction of texts whose prediction set or interval should contain the true answer; none serves no sets",
        _PROPER_FRACTION,
    )
    max_error: float | None = training_setting(
        None,
        "largest accepted fraction of errors among the predictions that are used; the model abstains from the others; "
        "none serves no abstention",
        _PROPER_FRACTION,
    )
    out_of_domain: Literal["auto", "none", "energy", "mahalanobis", "neighbours"] = training_setting(
        "auto",
        "score for how unlike the training texts a text is, served as a p-value: energy of the logits, Mahalanobis "
        "distance to the mean vector of the closest label, or distance to the nearest training text; auto chooses the "
        "best one for labels that are left out of training",
    )

    def __post_init__(self):
        check_bounds(self, "decision")
