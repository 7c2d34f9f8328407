"""Metrics in Prometheus' text format, with TensorFlow Serving's names."""

import re

from tfbert.serving.server.metrics import Metrics


def test_names_labels_and_values():
    metrics = Metrics()
    for seconds in (0.001, 0.02, 0.5):
        metrics.request("bank", "Predict", "GRPC", "OK", seconds)
    metrics.request("bank", "predict", "REST", "INVALID_ARGUMENT", 9.0)
    metrics.run("bank", "Predict", 0.25)
    metrics.batch(0.001, 3, 5)
    metrics.load("/models/bank/1", True)
    metrics.load("/models/bank/2", False)
    text = metrics.text()
    lines = text.splitlines()
    assert ':tensorflow:serving:request_count{model_name="bank",status="OK"} 3' in lines
    assert ':tensorflow:serving:request_count{model_name="bank",status="INVALID_ARGUMENT"} 1' in lines
    latency = ':tensorflow:serving:request_latency_{}{{model_name="bank",API="Predict",entrypoint="GRPC"'
    assert latency.format("count") + "} 3" in lines and latency.format("sum") + "} 521000" in lines
    # 1,000 and 20,000 microseconds are within 20,823.
    assert latency.format("bucket") + ',le="20823"} 2' in lines
    assert latency.format("bucket") + ',le="+Inf"} 3' in lines
    assert 'entrypoint="REST"' not in text, "only what succeeded has a latency"
    assert ':tensorflow:cc:saved_model:load_attempt_count{model_path="/models/bank/2",status="fail"} 1' in lines
    assert ":tensorflow:serving:batching_session:wrapped_run_count 1" in lines
    assert ':tensorflow:serving:batching_session:processed_batch_size_bucket{le="8"} 1' in lines
    assert ':tensorflow:serving:batching_session:processed_batch_size_bucket{le="4"} 0' in lines
    assert "# TYPE :tensorflow:serving:request_latency histogram" in lines
    sample = re.compile(r'[:a-z_]+(\{([a-zA-Z_]+="[^"]*",?)+\})? [0-9.e+]+')
    assert all(line.startswith("# TYPE ") or sample.fullmatch(line) for line in lines)


def test_clients_cannot_fill_the_memory_with_names():
    metrics = Metrics(most_models=2)
    for name in ("a", 'b"\n\\', "c", "d", "a"):
        metrics.request(name, "predict", "REST", "NOT_FOUND", 0.1)
    counted = [line for line in metrics.text().splitlines() if "request_count{" in line]
    assert counted == [
        ':tensorflow:serving:request_count{model_name="a",status="NOT_FOUND"} 2',
        ':tensorflow:serving:request_count{model_name="b\\"\\n\\\\",status="NOT_FOUND"} 1',
        ':tensorflow:serving:request_count{model_name="other",status="NOT_FOUND"} 2',
    ]
