"""TensorFlow Serving's warm-up records: requests that a server replays when it loads a model.

If a record fails, the server rejects the version, so one with a missing op or a broken graph never becomes AVAILABLE.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from tfbert.text.inputs import Item, batch_of

# Where a server looks for the records, relative to the directory of a version.
WARMUP_FILE = Path("assets.extra") / "tf_serving_warmup_requests"


def write_warmup(version_dir: Path, items: Sequence[Item], specs: Mapping[str, tf.TensorSpec]) -> None:
    """Write one request with the first item and one with all items.

    Args:
        version_dir: the directory of the SavedModel.
        items: one or more.
        specs: the inputs of the model by name.
    """
    path = version_dir / WARMUP_FILE
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for batch in (items[:1], items):
            request = predict_pb2.PredictRequest()
            request.model_spec.signature_name = "serving_default"
            for name, tensor in batch_of(batch, specs).items():
                request.inputs[name].CopyFrom(tf.make_tensor_proto(tensor))
            log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
            writer.write(log.SerializeToString())


def read_warmup(version_dir: Path) -> Iterator[predict_pb2.PredictRequest]:
    """Yield the recorded requests in order."""
    for record in tf.data.TFRecordDataset(str(version_dir / WARMUP_FILE)):
        yield prediction_log_pb2.PredictionLog.FromString(record.numpy()).predict_log.request
