"""Variants of records."""

from tfbert.robustness.variants import vary
from tfbert.tasks.base import load_task
from tfbert.text.edits import Edit
from tfbert.text.perturbations.catalog import PERTURBATIONS
from tfbert.text.perturbations.perturbation import Perturbation
from tfbert.text.records import Record
from tfbert.text.spans import Span

BY_NAME = {perturbation.name: perturbation for perturbation in PERTURBATIONS}
TASK = load_task("classification")


def test_only_changed_records_are_variants():
    records = [Record("pay 1000", "a", "1"), Record("pay 10", "b", "2"), Record("or 1,000?", "a", "3")]
    variants = vary(TASK, records, BY_NAME["numbers"], 0)
    assert variants.indices == [0, 2]
    assert variants.records == [Record("pay 1,000", "a", "1"), Record("or 1000?", "a", "3")]
    assert variants.edits == [[Edit(4, 8, "1,000")], [Edit(3, 8, "1000")]]
    assert vary(TASK, records, BY_NAME["names"], 0).records == []


def test_a_variant_does_not_depend_on_the_other_records():
    records = [Record(f"send the money to account number {index}", "a", str(index)) for index in range(20)]
    every, one = (vary(TASK, chosen, BY_NAME["look_alikes"], 0).records for chosen in (records, records[7:8]))
    assert every[7] == one[0]
    assert vary(TASK, records, BY_NAME["look_alikes"], 1).records != every


def test_pairs_have_the_same_names_and_no_irrelevant_sentences():
    pair = Record("Emma paid", "yes", "1", ("Did Emma pay?",))
    (varied,) = vary(TASK, [pair], BY_NAME["names"], 0).records
    name = varied.text.split()[0]
    assert name != "Emma" and varied.others == (f"Did {name} pay?",)
    assert vary(TASK, [pair], BY_NAME["irrelevant_sentence"], 0).records == []
    assert vary(TASK, [pair], BY_NAME["greeting"], 0).records == []


def test_edits_that_would_break_a_span_are_left_out():
    crossing = Perturbation("crossing", "", ("English",), lambda text, rng: [Edit(0, 5, "x"), Edit(6, 7, "Y")])
    record = Record("to Ada Lovelace", (Span(3, 6, "name"),), "1")
    variants = vary(load_task("entities"), [record], crossing, 0)
    assert variants.records[0].text == "to AdaYLovelace" and variants.edits == [[Edit(6, 7, "Y")]]
