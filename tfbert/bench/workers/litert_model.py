"""Answer texts with a LiteRT model in this process: `litert_model.py JOB`.

The job has `model`, the directory that `tools/export.py --litert` wrote, `num_threads` of one row, and `texts` by name.
Tokens are made by the Rust tokenizer, as an application would.
"""

import json
from pathlib import Path

import asking
import numpy as np
from tokenizers import BertWordPieceTokenizer

from tfbert.serving.litert import FACTS, MODEL, VOCABULARY, reader


def main():
    """Load, and answer until the input ends."""
    job, out = asking.read_job()
    directory = Path(job["model"])
    facts = json.loads((directory / FACTS).read_text(encoding="utf-8"))
    rules, length = facts["tokenizer"], facts["sequence_length"]
    tokenizer = BertWordPieceTokenizer(
        str(directory / VOCABULARY),
        lowercase=rules["lowercase"],
        strip_accents=rules["strip_accents"],
        handle_chinese_chars=rules["split_on_cjk"],
    )
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding(length=length)
    ask = reader((directory / MODEL).read_bytes(), job["num_threads"])

    def answer(texts):
        answers = []
        for found in tokenizer.encode_batch(texts):
            row = {"token_ids": found.ids, "segment_ids": found.type_ids, "padding_mask": found.attention_mask}
            answers.append(ask({name: np.array([values], np.int32) for name, values in row.items()}))
        return {name: np.concatenate([one[name] for one in answers]) for name in ("label_id", "probabilities")}

    asking.answer_lines(answer, job["texts"], out)


if __name__ == "__main__":
    main()
