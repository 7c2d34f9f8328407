"""predict --explain: all methods by a run, a SavedModel and a server, and the lines for a terminal."""

import json
import re

import numpy as np
import pytest
from support import small
from support.running_server import running

from tfbert.commands import explaining
from tfbert.commands.explaining import explanation_lines
from tfbert.serving.connection import ServerError

TEXT = "my card, please"
OUTPUTS = {
    "explained_label": "fee",
    "explained_word": -1,
    "log_odds": 1.25,
    "method": "occlusion",
    "gap": -1.0,
    "word": ["good", "fee", "a"],
    "input": ["text"] * 3,
    "start": [0, 5, 9],
    "end": [4, 8, 10],
    "contribution": [2.0, -1.0, 0.01],
}


def explained(capsys, *arguments):
    tool = small.load_command("predict")
    tool.main(tool.build_parser("predict").parse_args([str(argument) for argument in arguments]))
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_run_explains_like_its_saved_model(capsys):
    run_dir, model_dir = small.finished_run()
    (by_run,) = explained(capsys, run_dir, TEXT, "--label", "fee", "--explain")
    (by_model,) = explained(capsys, model_dir, TEXT, "--label", "fee", "--explain", "occlusion")
    assert by_run["text"] == TEXT and by_run["word"] == ["my", "card", ",", "please"]
    assert by_run["contribution"] == pytest.approx(by_model["contribution"], abs=1e-4)
    assert by_run["explained_label"] == "fee"


def test_shapley_values_add_up_to_the_change_from_no_words(capsys):
    _, model_dir = small.finished_run()
    (by_model,) = explained(capsys, model_dir, TEXT, "--explain", "shapley")
    whole, none = explained(capsys, model_dir, TEXT, "  ")
    label = whole["label_id"]
    log_odds = [np.log(p[label] / (1 - p[label])) for p in (whole["probabilities"], none["probabilities"])]
    assert sum(by_model["contribution"]) == pytest.approx(log_odds[0] - log_odds[1], abs=1e-3)
    assert by_model["method"] == "shapley" and len(by_model["contribution"]) == 4


@pytest.mark.slow
def test_a_server_explains_over_rest_and_grpc(capsys):
    _, model_dir = small.finished_run()
    local = [explained(capsys, model_dir, TEXT, "--explain", method)[0] for method in ("gradients", "shapley")]
    with running(model_name="bank", model_base_path=str(model_dir)) as server:
        for address in (f"127.0.0.1:{server.options.rest_api_port}", f"grpc://127.0.0.1:{server.options.port}"):
            for method, expected in zip(("gradients", "shapley"), local, strict=True):
                (outputs,) = explained(capsys, "bank", TEXT, "--server", address, "--explain", method)
                assert outputs["contribution"] == pytest.approx(expected["contribution"], abs=1e-3)
                assert outputs["word"] == ["my", "card", ",", "please"] and outputs["text"] == TEXT
            with pytest.raises(ServerError, match="label must be one of the labels of the model"):
                explained(capsys, "bank", TEXT, "--server", address, "--explain", "--label", "fe")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--explain", "--label", "fe"], "--label 'fe': expected one of the labels of the model; did you mean 'fee'?"),
        (["--label", "fee"], "--label 'fee': is the label to explain; expected --explain too"),
        (["--top", "1", "--explain"], "--top 1: expected no --explain, which returns words"),
    ],
)
def test_unusable_options(arguments, message, capsys):
    with pytest.raises(ValueError, match=re.escape(message)):
        explained(capsys, small.finished_run()[1], TEXT, *arguments)


def test_shapley_values_need_probabilities():
    def predict(items):
        return ((item, {"start": [1]}) for item in items)

    model = explaining.LoadedModel("m", {}, (), (), predict, lambda *_: [({"text": "good fee a"}, OUTPUTS)])
    with pytest.raises(ValueError, match="--explain shapley: expected a model with probabilities of labels, unlike m"):
        list(explaining.explain(model, [], "shapley", ""))
    with pytest.raises(ValueError, match="--label 'a': a server does not send the labels"):
        list(explaining.explain(model, [], "shapley", "a"))


def test_a_terminal_shows_colours_and_the_strongest_words(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    text, *others = explanation_lines({"text": "good fee a"}, OUTPUTS)
    assert text == "\x1b[38;5;231;48;5;34mgood\x1b[0m \x1b[38;5;231;48;5;88mfee\x1b[0m a"
    assert others == ["  fee  +1.25  (occlusion)", "  for: good +2.00", "  against: fee -1.00"]
    monkeypatch.setenv("NO_COLOR", "1")
    entity = explanation_lines({"text": "good fee a"}, OUTPUTS | {"explained_word": 1})
    assert entity[:2] == ["good fee a", "  fee  +1.25 at fee  (occlusion)"]
    assert entity[2:] == others[1:]


def test_punctuation_is_quoted_in_the_list_of_words():
    lines = explanation_lines(
        {"text": "a , 😀"}, OUTPUTS | {"word": ["a", ",", "😀"], "contribution": [1.0, 2.0, -1.5]}
    )
    assert lines[2:4] == ["  for: ',' +2.00, a +1.00", "  against: '😀' -1.50"]


def test_a_terminal_shows_three_similar_training_examples():
    similar = {
        "evidence": ["a\nfee", "b " * 99, "", "d"],
        "evidence_label": ["fee", "card", "", "x"],
        "evidence_similarity": [0.987, 0.5, 0.25, 0.1],
    }
    lines = explanation_lines({"text": "good fee a"}, OUTPUTS | similar)
    assert lines[-4:-2] == ["  similar in train:", "    0.99  fee  a fee"]
    assert lines[-2].startswith("    0.50  card  b b ") and lines[-2].endswith("b …") and len(lines[-2]) <= 96
    assert lines[-1] == "    0.25  nothing  "
    pair = explanation_lines({"text": "good fee a"}, OUTPUTS | similar | {"evidence_pair": ["z", "", "", ""]})
    assert pair[-3] == "    0.99  fee  a fee | z"


def test_a_text_after_explain_is_no_method(capsys):
    with pytest.raises(SystemExit):
        explained(capsys, "model", "--explain", "my card")
    assert "'my card' is not one of default, occlusion, gradients, shapley; texts come" in capsys.readouterr().err
