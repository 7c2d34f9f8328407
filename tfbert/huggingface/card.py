"""The model card of an export for PyTorch: how to load it, and what tfbert computes that it does not contain."""

from tfbert.evaluation.card_tables import data_table, score_table
from tfbert.huggingface.heads import ConvertedHead
from tfbert.models.saved_run import SavedRun
from tfbert.tasks.base_huggingface import FittedConvertibleTask

_OVERLAP = "encoder.window_overlap_fraction"


def left_out(run: SavedRun) -> list[str]:
    """Return what a run's model computes in tfbert and not in PyTorch, with values; one phrase for each."""
    task, predictor, encoder = run.task, run.predictor, run.config.encoder
    lines = []
    if _OVERLAP in task.options.paths().values() and not task.cuts_texts:
        long_text = getattr(task.options, "long_text", None)
        combined = f", whose logits are combined by {long_text}" if long_text else ""
        lines.append(
            f"windows: tfbert reads long texts in windows of {encoder.sequence_length} tokens that overlap by "
            f"{encoder.window_overlap_fraction:.0%} or more{combined}"
        )
    if isinstance(task, FittedConvertibleTask) and task.decoding:
        lines.append(task.decoding)
    if task.decision and (decision := task.decision.describe(predictor.decided_values())):
        lines.append(decision)
    if task.domain:
        lines.append("out_of_domain, how unlike the training texts a text is")
    if task.index:
        values = {name: variable.numpy() for name, variable in predictor.index.items()}
        vectors, _ = task.index.entries(values)
        lines.append(f"the index with {len(vectors):,} vectors of known texts; tfbert export --vectors writes it")
    return lines


def model_card(run: SavedRun, converted: ConvertedHead) -> str:
    """Return the README.md of an export, with the metadata that the Hugging Face hub reads."""
    task, report = run.task, run.report
    title = task.definition.title
    missing = "\n".join(f"- {line}" for line in left_out(run))
    also = (
        f" tfbert's outputs also depend on the following, which is not applied\nhere:\n\n{missing}" if missing else ""
    )
    is_convertible = isinstance(task, FittedConvertibleTask)
    library = "transformers" if is_convertible else "sentence-transformers"
    pipeline = task.definition.model_class.pipeline if is_convertible else "sentence-similarity"
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    return f"""---
library_name: {library}
pipeline_tag: {pipeline}
tags:
- tfbert
---
# Model card

{title[0].upper()}{title[1:]}; task `{task.name}`, fine-tuned with tfbert from the encoder
`{report["encoder"]["name"]}`.

## Use
```python
{usage(converted, "DIR")}
```
The tokenizer cuts inputs to {run.config.encoder.sequence_length} tokens, as in training.
{_pooling_note(converted, run)}
## Not in this directory
The weights compute the same scores as in tfbert.{also}

## Data
{data_table(report)}

## Scores
Measured in tfbert, including what is not in this directory.

{score_table(report)}

## Made with
{versions}.
"""


def usage(converted: ConvertedHead, directory: str) -> str:
    """Return Python code that loads an export."""
    name = converted.auto_class
    if name == "SentenceTransformer":
        return f'from sentence_transformers import {name}\n\nmodel = {name}("{directory}")'
    argument = ", trust_remote_code=True" if converted.has_code else ""
    return f"""from transformers import {name}, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{directory}"{argument})
model = {name}.from_pretrained("{directory}"{argument})"""


def _pooling_note(converted: ConvertedHead, run: SavedRun) -> str:
    pooling = getattr(run.predictor.model.head, "pooling", None)
    if converted.has_code:
        return (
            f"The head pools by {pooling}, which no class of transformers does for BERT. The directory contains the "
            "code, in\n`modeling_tfbert.py`.\n"
        )
    if pooling == "cls" and converted.auto_class != "SentenceTransformer":
        return (
            "The head reads the vector of [CLS], but transformers puts a layer with tanh in between. In this directory "
            "the\nlayer multiplies by 2 ** -12, where tanh is linear, and the classifier by 2 ** 12. Logits agree "
            "within rounding errors.\nTo continue training, initialize both layers again.\n"
        )
    return ""
