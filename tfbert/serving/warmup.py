"""Sample texts in, TensorFlow Serving's warm-up records out, and back.

A record that fails makes the server refuse the version: a missing op or a broken graph never becomes AVAILABLE.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

_FILE = Path("assets.extra") / "tf_serving_warmup_requests"


def write_warmup(version_dir: Path, texts: Sequence[str]) -> None:
    """Write one record for a single text and one for all of them as a batch.

    Args:
        version_dir: of the SavedModel.
        texts: at least one.
    """
    path = version_dir / _FILE
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for batch in ([texts[0]], list(texts)):
            request = predict_pb2.PredictRequest()
            request.model_spec.signature_name = "serving_default"
            request.inputs["text"].CopyFrom(tf.make_tensor_proto([text.encode() for text in batch]))
            log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
            writer.write(log.SerializeToString())


def read_warmup(version_dir: Path) -> Iterator[predict_pb2.PredictRequest]:
    """Yield the recorded requests in order."""
    for record in tf.data.TFRecordDataset(str(version_dir / _FILE)):
        yield prediction_log_pb2.PredictionLog.FromString(record.numpy()).predict_log.request
