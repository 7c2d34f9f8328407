"""Serve a model with LitServe, whose worker takes what waits as one batch: `peer_litserve.py JOB`.

The job, and what is asked and answered, is that of `peer_fastapi.py`; `num_requests` is the most of one batch.

Source: the first steps of LitServe's documentation; written anew.
"""

import json
import sys
from pathlib import Path

import litserve
import peer_models


class Api(litserve.LitAPI):
    """Answers batches; made anew in the worker's process.

    Args:
        job: as above.
    """

    def __init__(self, job):
        super().__init__(max_batch_size=job["num_requests"], batch_timeout=0.0, api_path="/predict")
        self.job = job

    def setup(self, device):
        """Load the model."""
        directory = Path(self.job["model"])
        self.answer = peer_models.with_onnx(directory, peer_models.FUSED, self.job["num_threads"])

    def decode_request(self, request):
        """Return the texts of a request."""
        return request["instances"]

    def batch(self, inputs):
        """Return several lists of texts, and the sizes by which they are taken apart again."""
        return [text for texts in inputs for text in texts], [len(texts) for texts in inputs]

    def predict(self, inputs):
        """Return the answers to a batch, with its sizes."""
        texts, sizes = inputs
        return peer_models.rows_of(self.answer(texts)), sizes

    def unbatch(self, output):
        """Return the answers of each request."""
        rows, sizes = iter(output[0]), output[1]
        return [[next(rows) for _ in range(size)] for size in sizes]

    def encode_response(self, output):
        """Return the body of an answer."""
        return {"predictions": output}


def main():
    """Serve until the process is told to stop."""
    with open(sys.argv[1], encoding="utf-8") as stream:
        job = json.load(stream)
    server = litserve.LitServer(Api(job), accelerator="cpu", workers_per_device=1)
    server.run(port=job["port"], host="127.0.0.1", generate_client_file=False, log_level="error")


if __name__ == "__main__":
    main()
