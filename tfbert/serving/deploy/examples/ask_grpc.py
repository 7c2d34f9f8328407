"""Send the example requests over gRPC. Needs the packages tensorflow-serving-api and grpcio."""

import argparse
import json
from pathlib import Path

import grpc
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

HERE = Path(__file__).parent


def main() -> None:
    """Send the requests and print one JSON object per prediction."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", default="localhost:8443", help="address of the proxy, or with --plain of a server")
    parser.add_argument("--key", default="", help="client key, as in ../clients/routes.yaml")
    parser.add_argument("--ca", type=Path, help="CA certificate of the proxy")
    parser.add_argument("--plain", action="store_true", help="without TLS")
    options = parser.parse_args()
    instances = json.loads((HERE / "request.json").read_text(encoding="utf-8"))["instances"]
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "<< name >>"
    # In the REST format, the input of a model with a single input has no name.
    rows = [instance if isinstance(instance, dict) else {"<< input_names[0] >>": instance} for instance in instances]
    for name in rows[0]:
        values = [row[name] for row in rows]
        # Texts become strings, numbers float32.
        request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
    if options.plain:
        channel = grpc.insecure_channel(options.address)
    else:
        credentials = grpc.ssl_channel_credentials(options.ca.read_bytes() if options.ca else None)
        channel = grpc.secure_channel(options.address, credentials)
    service = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    response = service.Predict(request, timeout=60, metadata=[("x-api-key", options.key)])
    outputs = {name: tf.make_ndarray(tensor).tolist() for name, tensor in response.outputs.items()}
    for row in range(len(rows)):
        prediction = {name: values[row] for name, values in sorted(outputs.items())}
        print(json.dumps(prediction, ensure_ascii=False, default=lambda value: value.decode("utf-8", "replace")))


if __name__ == "__main__":
    main()
