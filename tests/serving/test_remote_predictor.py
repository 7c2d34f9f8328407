"""The predictor of a model on a server: the same items and predictions as those of a SavedModel."""

import pytest

from tfbert.serving.remote_predictor import RemotePredictor, parse_headers


class Client:
    """A fake client that sends two items per request and returns given outputs."""

    def __init__(self, predict):
        self._predict, self.num_read = predict, []

    def inputs(self):
        return {"text": "spec"}

    def predict(self, items, signature):
        assert signature == "serving_default"
        stream = iter(items)
        for first in stream:
            batch = [first, *([] if (second := next(stream, None)) is None else [second])]
            self.num_read.append(len(batch))
            yield from map(self._predict, batch)


def test_items_are_yielded_with_their_predictions_in_order():
    client = Client(lambda item: {"b": item["text"].upper(), "a": len(item["text"])})
    predictor = RemotePredictor(client)
    assert predictor.inputs == {"text": "spec"}
    items = [{"text": text} for text in ("x", "yy", "zzz")]
    predictions = predictor.predict(items)
    first = next(predictions)
    assert client.num_read == [2], "items are read lazily"
    assert [first, *predictions] == [
        ({"text": "x"}, {"a": 1, "b": "X"}),
        ({"text": "yy"}, {"a": 2, "b": "YY"}),
        ({"text": "zzz"}, {"a": 3, "b": "ZZZ"}),
    ]
    assert list(first[1]) == ["a", "b"]


def test_outputs_of_a_task_have_no_padding():
    padded = {"labels": ["a", ""], "label_probabilities": [0.9, 0.0], "num_labels": 1, "probabilities": [0.9, 0.1]}
    ((_, prediction),) = RemotePredictor(Client(lambda item: padded | {"truncated": False})).predict([{"text": "x"}])
    assert (prediction["labels"], prediction["label_probabilities"]) == (["a"], [0.9])


def test_a_single_output_gets_a_name():
    assert list(RemotePredictor(Client(lambda item: 0.5)).predict([{"text": "x"}])) == [
        ({"text": "x"}, {"output": 0.5})
    ]


def test_headers_are_names_and_values():
    assert parse_headers([]) == {}
    assert parse_headers(["X-Key: a:b", "accept:c "]) == {"x-key": "a:b", "accept": "c"}


@pytest.mark.parametrize("header", ["x-key", ":value", "x-key:"])
def test_a_header_without_name_or_value_is_refused(header):
    with pytest.raises(ValueError, match=f"--header '{header}': expected NAME:VALUE"):
        parse_headers([header])
