"""Serve a model with onnxruntime behind FastAPI or LitServe, as the first steps of their documentation do.

The job has `kind`, `fastapi` or `litserve`; `port` on 127.0.0.1; `model`, the directory with the ONNX files;
`num_threads` of one operation; and `num_requests`, how many FastAPI predicts at once and how many LitServe batches. A
POST to `/predict` takes and gives the JSON of TensorFlow Serving.
"""

import contextlib
from pathlib import Path

import anyio.to_thread
import litserve
import uvicorn
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from benchmarks.workers import peer_models, protocol


def load(job):
    """Return the classifier."""
    return peer_models.with_onnx(Path(job["model"]), peer_models.FUSED, job["num_threads"])


class _Request(BaseModel):
    instances: list[str]


def serve_fastapi(job):
    """Serve with FastAPI under uvicorn until the process is stopped."""

    @contextlib.asynccontextmanager
    async def lifespan(app):
        anyio.to_thread.current_default_thread_limiter().total_tokens = job["num_requests"]
        yield

    app = FastAPI(lifespan=lifespan)
    predict = load(job)

    @app.post("/predict")
    def respond(request: _Request):
        # Faster than returning a dict, which FastAPI would validate once more.
        return JSONResponse({"predictions": peer_models.json_rows(predict(request.instances))})

    uvicorn.run(app, host="127.0.0.1", port=job["port"], log_level="error", access_log=False)


class _LitServeApi(litserve.LitAPI):
    """Predicts the waiting requests as one batch; created again in LitServe's worker process."""

    def __init__(self, job):
        super().__init__(max_batch_size=job["num_requests"], batch_timeout=0.0, api_path="/predict")
        self.job = job

    def setup(self, device):
        self.model = load(self.job)

    def decode_request(self, request):
        return request["instances"]

    def batch(self, inputs):
        return [text for texts in inputs for text in texts], [len(texts) for texts in inputs]

    def predict(self, inputs):
        texts, sizes = inputs
        return peer_models.json_rows(self.model(texts)), sizes

    def unbatch(self, output):
        rows, sizes = iter(output[0]), output[1]
        return [[next(rows) for _ in range(size)] for size in sizes]

    def encode_response(self, output):
        return {"predictions": output}


def serve_litserve(job):
    """Serve with LitServe until the process is stopped."""
    server = litserve.LitServer(_LitServeApi(job), accelerator="cpu", workers_per_device=1)
    server.run(port=job["port"], host="127.0.0.1", generate_client_file=False, log_level="error")


if __name__ == "__main__":
    the_job, _ = protocol.read_job()
    {"fastapi": serve_fastapi, "litserve": serve_litserve}[the_job["kind"]](the_job)
