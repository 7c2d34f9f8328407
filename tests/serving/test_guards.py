"""Invalid inputs are rejected in the graph of an export: in the Python server and in the loader of stock servers."""

import numpy as np
import pytest
import tensorflow as tf

from tfbert.serving.server.servable import Servable
from tfbert.serving.server.status import Code, ServingError

INPUTS = {
    "token_ids": [[2, 5, 3, 0], [2, 9, 8, 3]],
    "segment_ids": [[0, 0, 0, 0], [0, 0, 1, 1]],
    "padding_mask": [[1, 1, 1, 0], [1, 1, 1, 1]],
}
SAME_SHAPE = "token_ids, segment_ids and padding_mask must have the same shape, (sequences, tokens)"
# The encoder `tiny` has 512 positions, 2 segments and 190 tokens.
BAD = {
    "a mask of zeros": (
        INPUTS | {"padding_mask": [[1, 1, 1, 0], [0, 0, 0, 0]]},
        "padding_mask must have at least one 1",
    ),
    "no tokens": ({name: [[], []] for name in INPUTS}, "padding_mask must have at least one 1 in each sequence"),
    "a negative id": (INPUTS | {"token_ids": [[2, 5, 3, 0], [2, -9, 8, 3]]}, "token_ids must be from 0 to 189"),
    "an id too large": (INPUTS | {"token_ids": [[2, 5, 3, 0], [2, 190, 8, 3]]}, "token_ids must be from 0 to 189"),
    "a negative segment": (INPUTS | {"segment_ids": [[0] * 4, [0, 0, -1, 0]]}, "segment_ids must be from 0 to 1"),
    "a segment too large": (INPUTS | {"segment_ids": [[0] * 4, [0, 0, 2, 0]]}, "segment_ids must be from 0 to 1"),
    "a mask of other numbers": (INPUTS | {"padding_mask": [[1, 1, 1, 0], [1, 1, 2, 1]]}, "padding_mask must be 0 or 1"),
    "a negative mask": (INPUTS | {"padding_mask": [[1, 1, 1, 0], [1, 1, -1, 1]]}, "padding_mask must be 0 or 1"),
    "another width": (INPUTS | {"segment_ids": [[0, 0], [0, 0]]}, SAME_SHAPE),
    "another number of sequences": (INPUTS | {"padding_mask": [[1, 1, 1, 0]]}, SAME_SHAPE),
    "a long sequence": ({name: [[1] * 513] for name in INPUTS}, "token_ids must have at most 512 tokens per sequence"),
}


@pytest.fixture(scope="module")
def served(version_dir):
    servable = Servable("m", 1, version_dir)
    yield servable
    servable.close()


def arrays(sequences):
    return {name: np.array(values, np.int32) for name, values in sequences.items()}


def test_valid_sequences_are_predicted(served, model):
    outputs = served.run("token_ids", arrays(INPUTS))
    assert np.isfinite(outputs["probabilities"]).all() and outputs["probabilities"].shape == (2, 3)
    expected = model.signatures["token_ids"](**{name: tf.constant(values) for name, values in arrays(INPUTS).items()})
    np.testing.assert_allclose(outputs["probabilities"], expected["probabilities"], atol=1e-6)
    # An empty batch.
    assert served.run("token_ids", {name: np.zeros([0, 3], np.int32) for name in INPUTS})["probability"].shape == (0,)


@pytest.mark.parametrize("name", BAD)
def test_invalid_sequences_are_rejected_by_the_graph(served, model, name):
    sequences, message = BAD[name]
    with pytest.raises(ServingError) as caught:
        served.run("token_ids", arrays(sequences))
    assert caught.value.code is Code.INVALID_ARGUMENT
    assert message in caught.value.message and "node" not in caught.value.message
    # Without a server too.
    with pytest.raises(tf.errors.InvalidArgumentError, match="assertion failed: ") as raised:
        model.signatures["token_ids"](**{key: tf.constant(values) for key, values in arrays(sequences).items()})
    assert message in raised.value.message


@pytest.mark.parametrize(
    ("signature", "inputs", "shapes"),
    [
        ("serving_default", {"text": np.array([["a", "b"]], object)}, "text [1,2] is not compatible with expected"),
        ("serving_default", {"text": np.array("a", object)}, "text [] is not compatible with expected shape [?]"),
        (
            "token_ids",
            arrays(INPUTS) | {"token_ids": np.array([2, 5], np.int32)},
            "token_ids [2] is not compatible with",
        ),
        ("token_ids", {name: np.ones([1, 2, 3], np.int32) for name in INPUTS}, " [1,2,3] is not compatible with "),
    ],
)
def test_another_rank_is_rejected_by_the_graph(served, signature, inputs, shapes):
    with pytest.raises(ServingError) as caught:
        served.run(signature, inputs)
    assert caught.value.code is Code.INVALID_ARGUMENT
    assert caught.value.message.startswith("Shape of tensor ") and shapes in caught.value.message
    assert "_arg_" not in caught.value.message and "node" not in caught.value.message
