"""TensorFlow Serving's warm-up records: requests that a server replays when it loads a model.

If a record fails, the server rejects the version, so one with a missing op or a broken graph never becomes AVAILABLE.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from tfbert.tasks.base_outputs import EXPLAIN, GRADIENTS, OCCLUSION
from tfbert.text.inputs import Item, batch_of, rough_lengths

# Where a server looks for the records, relative to the directory of a version.
WARMUP_FILE = Path("assets.extra") / "tf_serving_warmup_requests"


def write_warmup(
    version_dir: Path, items: Sequence[Item], specs: Mapping[str, tf.TensorSpec], *, explains: bool = False
) -> None:
    """Write one request with the first item and one with all items; and one that explains the shortest by each method.

    Args:
        version_dir: the directory of the SavedModel.
        items: one or more.
        specs: the inputs of the model by name.
        explains: whether the model has the signature `explain`.
    """
    requests = [("serving_default", batch_of(batch, specs)) for batch in (items[:1], items)]
    if explains:
        shortest = items[int(np.argmin(rough_lengths(items)))]
        explained = batch_of([shortest] * 2, specs) | {"label": tf.constant([""] * 2)}
        requests.append((EXPLAIN, explained | {"method": tf.constant([OCCLUSION, GRADIENTS])}))
    path = version_dir / WARMUP_FILE
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, tensors in requests:
            request = predict_pb2.PredictRequest()
            request.model_spec.signature_name = signature
            for name, tensor in tensors.items():
                request.inputs[name].CopyFrom(tf.make_tensor_proto(tensor))
            log = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
            writer.write(log.SerializeToString())


def read_warmup(version_dir: Path) -> Iterator[predict_pb2.PredictRequest]:
    """Yield the recorded requests in order."""
    for record in tf.data.TFRecordDataset(str(version_dir / WARMUP_FILE)):
        yield prediction_log_pb2.PredictionLog.FromString(record.numpy()).predict_log.request
