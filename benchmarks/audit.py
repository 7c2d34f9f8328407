"""The audit on planted bias: whether it is found, what the mitigation costs, and whether it reports a bias by mistake.

The texts are those of sst2, with a given name in front: `emma says : a stirring film`. In a biased training split, half
of the texts have a name, of a woman for 90 % of the positive ones and of a man for 90 % of the negative ones, and a
tenth of the positive texts have a made-up word. In audited texts, names and labels are independent.
"""

import json
import random
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks import internals
from benchmarks.options import Options
from benchmarks.processes import ROOT, run, tool_command
from benchmarks.tables import Row, Table, mean
from tfbert.files import REPORT, read_json

_NUM_TRAIN, _NUM_VALIDATION, _NUM_TEST = 2000, 400, 1000
_NUM_SEEDS, _NUM_UNBIASED_SEEDS = 3, 10
_CORRELATION, _TOKEN, _TOKEN_FRACTION = 0.9, "ploxi", 0.1
_FINE_TUNED = {"train.epochs": "2"}
_COPIES = {"train.epochs": "2", "train.counterfactuals": "names"}
_FROZEN = {"train.trainable_layers": "0"}
_NAMES, _GENDERS, _BIASED = "names", 2, "biased"
# A text and its label, `1` for a positive one.
_Text = tuple[str, str]


def _values(key: str, form: str) -> tuple[str, object]:
    """Return a column with the value of every seed."""
    return key, lambda row, _: ", ".join(format(value, form) for value in row.values.get(key, ()))


COLUMNS = (
    ("accuracy without names", mean),
    _values("effect of the name", "+.3f"),
    _values("equalised-odds difference", ".3f"),
    _values("found", ".0f"),
    _values("rank of the planted token", ".0f"),
)


def measure(options: Options) -> Table:
    """Train on biased texts without and with counterfactual copies, and on unbiased texts, and audit every model.

    Raises:
        ValueError: the data are missing, or `--only` names a data set.
    """
    options.check_only(())
    directory = options.existing("sst2", "train.tsv, dev.tsv and test.tsv")

    def row(workload: str, system: str, num_seeds: int, settings: Mapping[str, str], random: bool = False) -> Row:
        is_biased, seeds = workload == _BIASED, range(options.repeats or num_seeds)
        results = [_audited(options, directory, seed, is_biased, settings, random) for seed in seeds]
        return _row(workload, system, results)

    rows = [
        row(_BIASED, "fine-tuned", _NUM_SEEDS, _FINE_TUNED),
        row(_BIASED, "with copies", _NUM_SEEDS, _COPIES),
        row("unbiased", "head trained", _NUM_UNBIASED_SEEDS, _FROZEN),
        # The groups of the list may differ for the pretrained encoder; random groups of the same names do not.
        row("unbiased", "head trained, random groups", _NUM_UNBIASED_SEEDS, _FROZEN, random=True),
    ]
    return Table(columns=COLUMNS, rows=rows)


def _row(workload: str, system: str, results: list[dict[str, float]]) -> Row:
    return Row(
        workload=workload,
        system=system,
        values={key: [result[key] for result in results if key in result] for key in results[0]},
    )


def _audited(
    options: Options,
    directory: Path,
    seed: int,
    is_biased: bool,
    settings: Mapping[str, str],
    has_random_groups: bool,
) -> dict[str, float]:
    """Train once, unless that has been done, and return what the audit of the model says.

    Args:
        options: the options of the command.
        directory: the directory of sst2.
        seed: of the data and the training.
        is_biased: whether names and labels are correlated in training.
        settings: config paths and values.
        has_random_groups: whether the names of each pair are assigned to the two groups at random.
    """
    name = "-".join(["biased" if is_biased else "unbiased", *(path.partition(".")[2] for path in settings), str(seed)])
    data_dir = options.out_dir / "data" / f"{'biased' if is_biased else 'unbiased'}-{seed}"
    if not (data_dir / "named.jsonl").exists():
        _write_data(directory, data_dir, seed, is_biased)
    run_dir = options.out_dir / name
    if not (run_dir / REPORT).exists():
        arguments = ["--task", "classification", "--data", str(data_dir), "--out", str(run_dir), "--no-export"]
        command = tool_command("train", [*arguments, "--seed", str(seed)], settings)
        run(command, {"PYTHONPATH": str(ROOT)})
    terms = str(_random_groups(data_dir / "groups.txt", seed)) if has_random_groups else _NAMES
    audit = internals.audit(run_dir, data_dir / "named.jsonl", terms)
    (swap,), (group,) = audit["swaps"], audit["groups"]
    tokens = [shortcut["token"] for shortcut in audit["shortcuts"]["listed"]]
    result = {
        "score": read_json(run_dir / REPORT)["test"]["metrics"]["accuracy"]["value"],
        "effect of the name": swap["directions"][0]["change"]["value"],
        "equalised-odds difference": group["gap"]["difference"]["value"],
        "found": float(bool(audit["findings"])),
    }
    return result | ({"rank of the planted token": tokens.index(_TOKEN) + 1.0} if _TOKEN in tokens else {})


def _random_groups(path: Path, seed: int) -> Path:
    """Write a list with the pairs of names, each in random order, and return its path."""
    rng = random.Random(seed)
    pairs = [" | ".join(rng.sample(pair, _GENDERS)) for pair in internals.english_terms(_NAMES)]
    path.write_text("\n".join(["groups: first | second", *pairs, ""]), encoding="utf-8")
    return path


def _write_data(directory: Path, data_dir: Path, seed: int, is_biased: bool) -> None:
    """Write train, validation and a test split without names, and `named.jsonl`, the same test texts with names."""
    rng = random.Random(seed)
    names = internals.english_terms(_NAMES)
    correlation = _CORRELATION if is_biased else 1 / _GENDERS

    def with_names(texts: list[_Text], fraction: float, correlation: float) -> Iterator[_Text]:
        for text, label in texts:
            if rng.random() < fraction:
                is_typical = rng.random() < correlation
                # The first group of the list are names of women.
                group = 0 if (label == "1") == is_typical else 1
                text = f"{rng.choice(names)[group].lower()} says : {text}"
            yield text, label

    def with_token(texts: Iterator[_Text]) -> Iterator[_Text]:
        for text, label in texts:
            has_token = is_biased and label == "1" and rng.random() < _TOKEN_FRACTION
            yield (f"{text} {_TOKEN}" if has_token else text), label

    test = _sample(directory / "test.tsv", _NUM_TEST, rng)
    train, validation = (
        list(with_token(with_names(_sample(directory / name, number, rng), 0.5, correlation)))
        for name, number in (("train.tsv", _NUM_TRAIN), ("dev.tsv", _NUM_VALIDATION))
    )
    named = list(with_names(test, 1.0, 1 / _GENDERS))
    data_dir.mkdir(parents=True, exist_ok=True)
    for name, texts in (("train", train), ("validation", validation), ("test", test), ("named", named)):
        lines = [json.dumps({"text": text, "label": label}) + "\n" for text, label in texts]
        (data_dir / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")


def _sample(path: Path, number: int, rng: random.Random) -> list[_Text]:
    """Return some lines of a file of sst2."""
    lines = path.read_text(encoding="utf-8").splitlines()
    chosen = rng.sample([line for line in lines if line.strip()], number)
    return [(text.strip(), label.strip()) for text, _, label in (line.rpartition("\t") for line in chosen)]
