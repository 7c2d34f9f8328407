"""Serve a model with FastAPI under uvicorn: `peer_fastapi.py JOB`.

The job has `port`, on 127.0.0.1, `model`, the directory that tfbert exported with the ONNX files in it, `num_threads`
of one operation and `num_requests` that are answered at once, by a pool of threads. A POST to `/predict` takes and
gives the JSON of TensorFlow Serving's rows.

Source: the first steps of FastAPI's documentation; written anew.
"""

import contextlib
import json
import sys
from pathlib import Path

import anyio.to_thread
import peer_models
import uvicorn
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from pydantic import BaseModel


class Asked(BaseModel):
    """The body of a request."""

    instances: list[str]


def application(job):
    """Return what answers the requests."""

    @contextlib.asynccontextmanager
    async def lifespan(app):
        anyio.to_thread.current_default_thread_limiter().total_tokens = job["num_requests"]
        yield

    app = FastAPI(lifespan=lifespan)
    answer = peer_models.with_onnx(Path(job["model"]), peer_models.FUSED, job["num_threads"])

    @app.post("/predict")
    def predict(asked: Asked):
        # Quicker than a dict, which FastAPI would go through once more.
        return JSONResponse({"predictions": peer_models.rows_of(answer(asked.instances))})

    return app


def main():
    """Serve until the process is told to stop."""
    with open(sys.argv[1], encoding="utf-8") as stream:
        job = json.load(stream)
    uvicorn.run(application(job), host="127.0.0.1", port=job["port"], log_level="error", access_log=False)


if __name__ == "__main__":
    main()
