"""Faithfulness of explanations on sst2, and how often a planted word that alone decides the label ranks first.

Planted words are in another copy of the data: each text gets a random label and, at a random place, one of two words,
which tells the label.
"""

import json
import random
from dataclasses import replace
from pathlib import Path

from benchmarks import internals
from benchmarks.conversions import Conversion, limited
from benchmarks.datasets import DEVELOPMENT_SETS
from benchmarks.options import Options
from benchmarks.quality import train_once
from benchmarks.tables import Row, Table

_MAX_TRAIN, _NUM_TEXTS = 2000, 500
_PLANTED = {"0": "granite", "1": "tulip"}
_METHODS = ("occlusion", "gradients")
COLUMNS = tuple(
    (title, lambda row, _, key=key: f"{row.values[key][0]:.3f}" if key in row.values else "")
    for key, title in (
        ("comprehensiveness", "comprehensiveness"),
        ("random_comprehensiveness", "of a random order"),
        ("sufficiency", "sufficiency"),
        ("random_sufficiency", "of a random order"),
        ("gap", "median gap"),
        ("first", "planted word ranks first"),
        ("seconds", "seconds per text"),
    )
)


def measure(options: Options) -> Table:
    """Train on sst2 with and without planted words, and explain test texts with both methods.

    Raises:
        ValueError: the data is missing, or `--only` names another data set.
    """
    options.check_only(["sst2"])
    options.existing("sst2", "the data of 'sst2'")
    plain = next(data_set for data_set in DEVELOPMENT_SETS if data_set.name == "sst2")
    plain = replace(plain, convert=limited(plain.convert, options.max_examples or _MAX_TRAIN))
    planted = replace(plain, name="sst2, planted words", convert=planting(plain.convert))
    rows = []
    for data_set in (plain, planted):
        words = tuple(_PLANTED.values()) if data_set is planted else ()
        data = data_set.prepared(options.data_dir, options.out_dir)
        run_dir = options.out_dir / data_set.slug
        train_once(data_set, data, run_dir, 0)
        for method in _METHODS:
            values = internals.explanation_scores(run_dir, method, _NUM_TEXTS, words)
            rows.append(Row(workload=data_set.name, system=method, values={key: [v] for key, v in values.items()}))
    return Table(columns=COLUMNS, rows=rows)


def planting(convert: Conversion) -> Conversion:
    """Return a conversion that gives each text of another one a random label and the word that tells the label."""

    def convert_and_plant(source: Path, target: Path, seed: int) -> None:
        convert(source, target, seed)
        rng = random.Random(seed)
        for path in sorted(target.glob("*.jsonl")):
            lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
            for line in lines:
                line["label"] = rng.choice(sorted(_PLANTED))
                words = line["text"].split()
                words.insert(rng.randint(0, len(words)), _PLANTED[line["label"]])
                line["text"] = " ".join(words)
            path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")

    return convert_and_plant
