"""Results of a measurement of robustness."""

import json

from tfbert.robustness.measure import measure


def test_the_result_is_json(predictions):
    make, _ = predictions
    result = measure(make([("please block my card", "card"), ("which fee, please?", "fee")]))
    document = json.loads(json.dumps(result.to_json()))
    assert document["metric"] == "accuracy" and document["score"]["value"] == 1
    effects = {effect["perturbation"]: effect for effect in document["effects"]}
    assert effects["no_punctuation"]["num_changed"] == 1 and effects["names"]["before"] is None
    assert effects["upper_case"]["flips"]["value"] == 0 and effects["upper_case"]["num_changed"] == 2
    assert document["worst_case"]["success"]["count"] == 1
