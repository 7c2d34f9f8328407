"""Report page of a pretraining run: `report.html`, made from the content of `report.json`."""

from pathlib import Path

from tfbert.evaluation import plots
from tfbert.evaluation.formatting import date, duration, number, percent, words
from tfbert.evaluation.page_parts import Column, history_table, score_columns, summary_view, write_page
from tfbert.fields import flatten
from tfbert.pretraining.config import PretrainConfig
from tfbert.pretraining.objective import METRICS

_SECTIONS = {
    "curves": "Training",
    "corpus": "Corpus",
    "guesses": "Masked words",
    "cost": "Time and memory",
    "repeat": "Repeat this run",
}


def render(report: dict, path: Path) -> None:
    """Write the report of a pretraining as one self-contained HTML file.

    Args:
        report: the content of `report.json`.
        path: the file to write; an existing one is replaced.
    """
    views = {
        "curves": {"plots": _plots(report), "table": _evaluations(report)},
        "corpus": _corpus(report),
        "guesses": report["guesses"],
    }
    views |= {"headline": _headline(report), "defaults": dict(flatten(PretrainConfig().to_dict()))}
    write_page("pretraining.html.jinja", path, _SECTIONS, report, **views)


def _headline(report: dict) -> dict:
    before, after = report["before"], report["after"]
    name, updates = report["encoder"]["name"], report["best_update"]
    frequency = report["by_frequency"]
    sentence = (
        f"The encoder predicts {percent(after['masked_word_accuracy'])} of the masked words correctly "
        f"({percent(before['masked_word_accuracy'])} before) and is as uncertain as if it chose among "
        f"{after['perplexity']:,.1f} equally likely words (before: {before['perplexity']:,.0f}). Predicting by "
        f"frequency alone, without context, would give {percent(frequency['masked_word_accuracy'])} and a loss of "
        f"{frequency['masked_word_loss']:.3f}."
    )
    notes = []
    if after["masked_word_loss"] >= frequency["masked_word_loss"]:
        notes.append(
            "The encoder is not better than predicting by frequency, so it has not learned to use context: it needs "
            "more updates, or a lower learning rate."
        )
    if updates <= report["head_updates"]:
        notes.append("No evaluation was better than the one before training: the encoder is unchanged.")
    if report["head_updates"]:
        notes.append(
            f"In the first {number(report['head_updates'])} updates only the new heads were trained. The scores before "
            "training were measured after these updates, with the original encoder."
        )
    if report["lost_shards"]:
        notes.append(f"Damaged and left out: {', '.join(report['lost_shards'])}.")
    speed = report["tokens_per_second"]
    lines = [
        ("Date", date(report.get("first_update_at"))),
        ("Updates", f"{number(report['history'][-1]['update'])}, best: {number(updates)}"),
        ("Training tokens", number(report["history"][-1]["num_tokens"])),
        ("Tokens per second", f"{speed:,.0f}" if speed else "–"),
    ]
    summary = summary_view("new" if name is None else name, lines, report)
    what = "A new encoder, pretrained" if name is None else f"{name}, pretrained further"
    title = f"{what} on {report['data_name']}" if report.get("data_name") else what
    score_before, score = (f"{scores['masked_word_loss']:.3f}" for scores in (before, after))
    view = {"title": title, "score": score, "sentence": sentence, "notes": notes, "summary": summary}
    view["run"] = report.get("run")
    return view | {"before": score_before, "num_masked_words": int(after["num_masked_words"])}


def _plots(report: dict) -> list:
    history, curve = report["history"], report["curve"]

    def held_out(name: str) -> list:
        return [(row["update"], row["held_out"][name]) for row in history if name in row["held_out"]]

    def training(name: str) -> list:
        return [(row["update"], row[name]) for row in curve if name in row]

    best = (report["best_update"], f"best: {report['best_update']:,}")
    charts = []
    for kind, title in (("masked_word", "masked words"), ("pair", "pairs of segments")):
        for measure, is_fraction in (("loss", False), ("accuracy", True)):
            name = f"{kind}_{measure}"
            if held_out(name):
                series = {"training": training(name), "held out": held_out(name)}
                if name in report["by_frequency"]:
                    last = history[-1]["update"]
                    series["by frequency"] = [(update, report["by_frequency"][name]) for update in (0, last)]
                series = {label: pairs for label, pairs in series.items() if pairs}
                heading = f"{measure.capitalize()} of {title} by update"
                charts.append(plots.lines(heading, series, is_fraction=is_fraction, vertical_line=best))
    rates = training("learning_rate")
    return charts + ([plots.lines("Learning rate by update", {"learning rate": rates})] if rates else [])


def _evaluations(report: dict) -> dict:
    """Return the scores on held-out text, one row per evaluation."""
    measured = report["history"][0]["held_out"]
    columns = [
        Column("update", lambda row: number(row["update"])),
        Column("epoch", lambda row: f"{row['epoch']:.2f}"),
        Column("tokens", lambda row: number(row["num_tokens"])),
        *score_columns([m for m in METRICS if m.name in measured], "held_out", with_meaning=True),
        Column("time", lambda row: duration(row["seconds"])),
    ]
    return history_table(report["history"], columns, lambda row: row["update"] == report["best_update"])


def _corpus(report: dict) -> dict:
    splits = [{"name": words(name), **counts} for name, counts in report["rows"].items()]
    counts = {name: value for name, value in report["corpus"].items() if isinstance(value, int) and value}
    lines = [f"{words(name)}: {number(value)}" for name, value in counts.items()]
    return {"splits": splits, "lines": [*lines, f"SHA-256 {report['corpus']['sha256']}"]}
