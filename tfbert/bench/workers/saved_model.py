"""Answer texts with a SavedModel in this process: `saved_model.py JOB`.

The job has `model`, the directory of a version, `num_threads` of one operation, and `texts` by name.
"""

from pathlib import Path

import asking
import tensorflow as tf

from tfbert.serving.predictor import Predictor


def main():
    """Load, and answer until the input ends."""
    job, out = asking.read_job()
    tf.config.threading.set_intra_op_parallelism_threads(job["num_threads"])
    predictor = Predictor(Path(job["model"]))
    asking.answer_lines(lambda texts: predictor([{"text": text} for text in texts]), job["texts"], out)


if __name__ == "__main__":
    main()
