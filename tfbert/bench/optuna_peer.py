"""Search hyperparameters with Optuna and PyTorch transformers: a job as JSON in, predictions of the best config out.

Run by the Python of another environment: `optuna_peer.py JOB`. The job is one of `transformers_peer.py`, and further
`validation`, the records to choose by; `trials`; `ranges`, of the learning rate, and lists of what else may be chosen;
and `seeds`, with each of which the best config is trained again. Predictions of the test records are written for each
of these, beside a summary.

Source: Optuna's own examples with transformers, its default sampler; written anew.
"""

import importlib.util
import json
import sys
import time
from pathlib import Path

import optuna
from transformers import AutoTokenizer

# The folder of this file is not on the path, as one of its files has the name of a library.
_SPEC = importlib.util.spec_from_file_location("peer", Path(__file__).with_name("transformers_peer.py"))
peer = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(peer)


def drawn(job, trial):
    """Return the job of a trial."""
    ranges = job["ranges"]
    dropout = trial.suggest_categorical("dropout", ranges["dropout"])
    return job | {
        "learning_rate": trial.suggest_float("learning_rate", *ranges["learning_rate"], log=True),
        "epochs": trial.suggest_categorical("epochs", ranges["epochs"]),
        "batch_size": trial.suggest_categorical("batch_size", ranges["batch_size"]),
        "model": {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout},
        "arguments": {
            "label_smoothing_factor": trial.suggest_categorical("label_smoothing", ranges["label_smoothing"]),
            "disable_tqdm": True,
        },
    }


def main():
    """Search, train the best config with every seed, and write what each predicts."""
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    started = time.monotonic()
    train, validation, test = (peer.read(job[name]) for name in ("train", "validation", "test"))
    kind = peer.KINDS[job["kind"]](job, AutoTokenizer.from_pretrained(job["encoder"]), train)
    gold = [kind.labels.index(record["target"]) for record in validation]

    def accuracy(trial):
        found = peer.predicted(peer.trained(drawn(job, trial), kind, train), kind, validation)
        return sum(p["label_id"] == label for p, label in zip(found, gold, strict=True)) / len(gold)

    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=job["seed"]))
    study.optimize(accuracy, n_trials=job["trials"])
    searched = time.monotonic() - started
    best = drawn(job, optuna.trial.FixedTrial(study.best_params))
    out = Path(job["out"])
    for seed in job["seeds"]:
        trainer = peer.trained(best | {"seed": seed}, kind, train)
        peer.write(out.with_name(f"{out.stem}-{seed}.jsonl"), peer.predicted(trainer, kind, test))
    summary = {
        "best": study.best_params,
        "validation": study.best_value,
        "search_seconds": searched,
        "seconds": time.monotonic() - started,
        "versions": {"optuna": optuna.__version__},
    }
    out.with_suffix(".summary.json").write_text(json.dumps(summary), encoding="utf-8")


if __name__ == "__main__":
    main()
