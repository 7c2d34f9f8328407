"""The model card that travels with a SavedModel."""

from tfbert.serving.fidelity import said
from tfbert.tasks.base import FittedTask


def model_card(report: dict, task: FittedTask, signatures: list[str], compared: dict | None = None) -> str:
    """Return Markdown: what the model does, on which data, how good, with what limits.

    Args:
        report: what `report.json` holds.
        task: the fitted task.
        signatures: names of the SavedModel's signatures.
        compared: what matrices in bfloat16 change; `None` where they are float32.
    """
    data = "\n".join(
        f"| {split} | {file['path']} | {file['num_examples']:,} | `{file['sha256'][:16]}` |"
        for split, file in report["data"].items()
    )
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    warnings = "\n".join(f"- {line}" for line in report["checks"]["warnings"]) or "- none"
    encoder, encoder_config = report["encoder"], report["config"]["encoder"]
    title = task.definition.title
    inputs = ", ".join(f"`{each.name}`, {each.kind}" for each in task.inputs)
    outputs = "\n".join(
        f"| `{output.name}` | {output.dtype}{', a list' * output.is_list} | {output.role} | {output.description} |"
        for output in task.outputs
    )
    return f"""# Model card

{title[0].upper()}{title[1:]}; task `{task.name}`, fine-tuned with tfbert from the encoder `{encoder["name"]}`.

## Use
Inputs: {inputs}.
The encoder reads {encoder_config["sequence_length"]} tokens at once.
Signatures: {", ".join(f"`{name}`" for name in signatures)}.

| output | type | role | what it holds |
|---|---|---|---|
{outputs}

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
