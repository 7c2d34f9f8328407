"""Ask over gRPC what was asked when this was rendered. Wants the packages tensorflow-serving-api and grpcio."""

import argparse
import json
from pathlib import Path

import grpc
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

HERE = Path(__file__).parent


def main() -> None:
    """Ask and print one JSON object a question."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", default="localhost:8443", help="of the proxy; with --plain of a server")
    parser.add_argument("--key", default="", help="of a client, as in ../clients/routes.yaml")
    parser.add_argument("--ca", type=Path, help="file with the certificate that the proxy's is signed by")
    parser.add_argument("--plain", action="store_true", help="without TLS")
    options = parser.parse_args()
    instances = json.loads((HERE / "request.json").read_text(encoding="utf-8"))["instances"]
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "<< name >>"
    # As REST writes them: where a model has one input, it has no name.
    rows = [instance if isinstance(instance, dict) else {"<< input_names[0] >>": instance} for instance in instances]
    for name in rows[0]:
        values = [row[name] for row in rows]
        request.inputs[name].CopyFrom(tf.make_tensor_proto(values, tf.string))
    if options.plain:
        channel = grpc.insecure_channel(options.address)
    else:
        credentials = grpc.ssl_channel_credentials(options.ca.read_bytes() if options.ca else None)
        channel = grpc.secure_channel(options.address, credentials)
    service = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    response = service.Predict(request, timeout=60, metadata=[("x-api-key", options.key)])
    outputs = {name: tf.make_ndarray(tensor).tolist() for name, tensor in response.outputs.items()}
    for row in range(len(rows)):
        answer = {name: values[row] for name, values in sorted(outputs.items())}
        print(json.dumps(answer, ensure_ascii=False, default=lambda value: value.decode("utf-8", "replace")))


if __name__ == "__main__":
    main()
