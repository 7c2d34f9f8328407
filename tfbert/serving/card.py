"""A report in, the model card that travels with a SavedModel out."""

from tfbert.serving.fidelity import said


def model_card(report: dict, title: str, inputs: list[str], signatures: list[str], compared: dict | None = None) -> str:
    """Return Markdown: what the model does, on which data, how good, with what limits.

    Args:
        report: what `report.json` holds.
        title: of the task.
        inputs: names of what it is asked.
        signatures: names of the SavedModel's signatures.
        compared: what matrices in bfloat16 change; `None` where they are float32.
    """
    data = "\n".join(
        f"| {split} | {facts['path']} | {facts['num_examples']:,} | `{facts['sha256'][:16]}` |"
        for split, facts in report["data"].items()
    )
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    warnings = "\n".join(f"- {line}" for line in report["checks"]["warnings"]) or "- none"
    encoder, encoder_config = report["encoder"], report["config"]["encoder"]
    return f"""# Model card

{title[0].upper()}{title[1:]}; task `{report["task"]}`, fine-tuned with tfbert from the encoder `{encoder["name"]}`.

## Use
Inputs: {", ".join(f"`{name}`" for name in inputs)}, strings.
The encoder reads {encoder_config["sequence_length"]} tokens at once.
Output `truncated`, where there is one, says whose tokens were cut.
Signatures: {", ".join(f"`{name}`" for name in signatures)}.

## Data
| split | path | examples | sha256 |
|---|---|---|---|
{data}

## Scores
{_scores(report)}
{_narrowed(compared)}
## What the data checks warned of
{warnings}

## Limits
- The scores hold for texts drawn like those of the test split, and for nothing else.
- Whatever it is asked, the model answers: texts unlike those it was trained on get an answer too.
- Probabilities, where there are some, are as reliable as the report's diagram shows, and no more.

## Made with
{versions}; seed {report["seed"]}.

## To fill in
- Licence of the data:
- Licence of this model (the encoder's own licence applies too):
- Owner and contact:
- Personal data in the training texts, and how it was handled:
"""


def _narrowed(compared: dict | None) -> str:
    if not compared:
        return ""
    return f"""
The scores are those of float32. Here the encoder's matrices are bfloat16, which wants a processor that multiplies it:
AMX or AVX-512 BF16. What that changes, {said(compared)}.
"""


def _scores(report: dict) -> str:
    rows = []
    for split in ("validation", "test"):
        for name, score in ((report.get(split) or {}).get("metrics") or {}).items():
            rows.append(f"| {split} | {name} | {score['value']:.4f} | {score['low']:.4f} to {score['high']:.4f} |")
    return "\n".join(["| split | metric | value | 95 % interval |", "|---|---|---|---|", *rows])
