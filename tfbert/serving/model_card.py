"""The model card that is stored with a SavedModel."""

from tfbert.evaluation.card_tables import data_table, score_table
from tfbert.serving.precision_comparison import describe
from tfbert.tasks.base import FittedTask
from tfbert.tasks.base_outputs import EXPLAIN


def model_card(
    report: dict, task: FittedTask, signatures: list[str], compared: dict | None = None, num_evidence: int = 0
) -> str:
    """Return Markdown that documents the model's use, data, scores and limits.

    Args:
        report: the content of `report.json`.
        task: the fitted task.
        signatures: names of the SavedModel's signatures.
        compared: what `precision_comparison.compare` measured for a bfloat16 export; `None` for float32.
        num_evidence: the number of training examples in the SavedModel.
    """
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    warnings = "\n".join(f"- {line}" for line in report["checks"]["warnings"]) or "- none"
    encoder, encoder_config, title = report["encoder"], report["config"]["encoder"], task.definition.title
    origin = f"fine-tuned with tfbert from the encoder `{encoder['name']}`"
    if "converted_from" in report:
        origin = f"converted by tfbert from the Hugging Face model `{report['converted_from']}`, with its weights"
    seed = f"; seed {report['seed']}" if "seed" in report else ""
    inputs = ", ".join(f"`{spec.name}` ({spec.kind})" for spec in task.inputs)
    outputs = "\n".join(
        f"| `{output.name}` | {output.dtype}{', a list' * output.is_list} | {output.role} | {output.description} |"
        for output in task.outputs
    )
    return f"""# Model card

{title[0].upper()}{title[1:]}; task `{task.name}`, {origin}.

## Use
Inputs: {inputs}.
The encoder reads up to {encoder_config["sequence_length"]} tokens at a time.
Signatures: {", ".join(f"`{name}`" for name in signatures)}.{_explanation_note(signatures, num_evidence)}

| output | type | role | description |
|---|---|---|---|
{outputs}

## Data
{data_table(report) if report["data"] else "unknown"}

## Scores
{score_table(report) if report["data"] else "Not measured; `tfbert evaluate` measures them."}
{_precision_note(compared)}
## Data warnings
{warnings}

## Limits
- The scores apply only to texts that resemble those of the test split.
- The model returns outputs for every input, including texts unlike those it was trained on.
- Probabilities, if any, are only as reliable as the reliability diagram in the report shows.

## Made with
{versions}{seed}.

## To fill in
- License of the data:
- License of this model (the encoder's own license also applies):
- Owner and contact:
- Personal data in the training texts, and how it was handled:
"""


def _explanation_note(signatures: list[str], num_evidence: int) -> str:
    if EXPLAIN not in signatures:
        return ""
    words = "returns what each word contributes to the log-odds of a label. It describes the model, not causes."
    examples = (
        f"\nIt also returns the most similar of {num_evidence:,} training examples, whose texts it contains; with "
        "`decision.evidence=0` a model keeps none."
    )
    return f"\n`{EXPLAIN}` {words}{examples if num_evidence else ''}"


def _precision_note(compared: dict | None) -> str:
    if not compared:
        return ""
    return f"""
The scores were measured in float32. In this SavedModel the encoder's weight matrices are bfloat16, which is fast only
on processors with bfloat16 instructions (AMX or AVX-512 BF16). Compared with float32 {describe(compared)}.
"""
