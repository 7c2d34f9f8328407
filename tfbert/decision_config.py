"""The section `decision` of the config: prediction sets, abstention, out-of-domain detection and evidence."""

from dataclasses import dataclass
from typing import Literal

from tfbert.fields import Bounds, at_least, check_bounds, training_setting

_PROPER_FRACTION = Bounds("more than 0, below 1", 0, 1, low_excluded=True, high_excluded=True)


@dataclass(frozen=True, kw_only=True)
class DecisionConfig:
    """What the served model decides with its scores, fitted after training, and the examples that it keeps."""

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
    evidence: int = training_setting(
        5000,
        "maximum number of training examples that the model keeps, with their texts, to show the most similar ones "
        "with an explanation; 0 keeps none",
        at_least(0),
    )

    def __post_init__(self):
        check_bounds(self, "decision")
