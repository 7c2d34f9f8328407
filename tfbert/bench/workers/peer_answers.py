"""Answer texts with a peer in this process: `peer_answers.py JOB`.

The job has `way`, `model`, the directory that tfbert exported with the ONNX files in it, `num_threads` of one
operation, and `texts` by name.
"""

from pathlib import Path

import asking
import peer_models


def main():
    """Load, and answer until the input ends."""
    job, out = asking.read_job()
    directory, threads = Path(job["model"]), job["num_threads"]
    ways = {
        "onnx": lambda: peer_models.with_onnx(directory, peer_models.FUSED, threads),
        "onnx-int8": lambda: peer_models.with_onnx(directory, peer_models.INT8, threads),
        "torch": lambda: peer_models.with_torch(directory, threads, is_bfloat16=False),
        "torch-bfloat16": lambda: peer_models.with_torch(directory, threads, is_bfloat16=True),
    }
    asking.answer_lines(ways[job["way"]](), job["texts"], out)


if __name__ == "__main__":
    main()
