"""Early stopping of trials by the median rule."""

import pytest

from tfbert.hyperparameters.stopping import should_stop_early

OTHERS = [([0.5, 0.6, 0.7, 0.8], 4), ([0.1, 0.2, 0.3, 0.4], 4), ([0.4, 0.5, 0.6, 0.7], 4), ([0.3, 0.4], 4)]


@pytest.mark.parametrize(
    ("history", "epochs", "others", "expected"),
    [
        (
            [0.44, 0.3],
            4,
            OTHERS,
            True,
        ),  # halfway, the other trials had 0.6, 0.2, 0.5 and 0.4: the median is 0.45
        ([0.3, 0.46], 4, OTHERS, False),
        ([0.46, 0.3], 4, OTHERS, False),  # the best so far counts
        ([0.0], 4, OTHERS, False),  # too early
        ([0.0], 3, OTHERS, True),  # a third is enough: the other trials had 0.5, 0.1, 0.4, 0.3
        ([0.0, 0.0], 4, OTHERS[:3], False),  # too few other trials
        ([0.0, 0.0, 0.0, 0.0], 4, OTHERS, False),  # the last epoch
        ([0.0], 2, [([0.9], 1)] * 5, False),  # the other trials had no validation score yet
    ],
)
def test_worse_than_the_median_at_the_same_point(history, epochs, others, expected):
    assert should_stop_early(history, epochs, others) is expected
