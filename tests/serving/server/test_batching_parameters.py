"""The batching parameters file: values, defaults, and rejected files."""

import pytest

from tfbert.serving.server.batching_parameters import BatchingParameters, read_parameters


def test_a_parameter_file_is_read(tmp_path):
    path = tmp_path / "batching.pbtxt"
    path.write_text("""
        # As in TensorFlow Serving's guide.
        max_batch_size { value: 32 }
        batch_timeout_micros { value: 5000 }
        max_enqueued_batches { value: 7 }
        num_batch_threads { value: 3 }
        thread_pool_name { value: "shared" }
        enable_large_batch_splitting { value: true }
        max_execution_batch_size { value: 16 }
        allowed_batch_sizes: 4
        allowed_batch_sizes: 16
        pad_variable_length_inputs: true
    """)
    assert read_parameters(path) == BatchingParameters(
        max_batch_size=32,
        batch_timeout_micros=5000,
        max_enqueued_batches=7,
        num_batch_threads=3,
        allowed_batch_sizes=(4, 16),
        enable_large_batch_splitting=True,
        max_execution_batch_size=16,
        pad_variable_length_inputs=True,
    )


def test_what_a_parameter_file_does_not_say_has_its_default(tmp_path):
    path = tmp_path / "batching.pbtxt"
    path.write_text("batch_timeout_micros { value: 0 } max_execution_batch_size { value: 5 }")
    found = read_parameters(path)
    assert found == BatchingParameters(max_execution_batch_size=5) and found.num_batch_threads >= 1
    assert (found.max_batch_size, found.max_enqueued_batches, found.execution_size) == (1000, 10, 1000)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_batch_size: 32", "expected a text proto of BatchingParameters"),
        ("max_batchsize { value: 32 }", 'has no field named "max_batchsize"'),
        ("max_batch_size {}", "max_batch_size must be positive; was 0"),
        ("num_batch_threads { value: -1 }", "num_batch_threads must be positive; was -1"),
        ("max_enqueued_batches { value: 0 }", "max_enqueued_batches must be positive; was 0"),
        ("max_execution_batch_size { value: 0 }", "max_execution_batch_size must be positive; was 0"),
        ("batch_timeout_micros { value: -5 }", "batch_timeout_micros must be non-negative; was -5"),
        (
            "max_batch_size { value: 4 } allowed_batch_sizes: [1, 8]",
            "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 8; expected 4",
        ),
        (
            "enable_large_batch_splitting { value: true } max_execution_batch_size { value: 4 } allowed_batch_sizes: 8",
            "Last entry in allowed_batch_sizes must be equal to max_execution_batch_size; last entry was 8; expected 4",
        ),
        (
            "max_batch_size { value: 4 } allowed_batch_sizes: [2, 2, 4]",
            "allowed_batch_sizes entries must be monotonically increasing; they are 2, 2, 4",
        ),
        ("max_batch_size { value: 4 } allowed_batch_sizes: [0, 4]", "must be positive; the first entry was 0"),
        (
            "max_batch_size { value: 4 } max_execution_batch_size { value: 8 } "
            "enable_large_batch_splitting { value: true }",
            "max_batch_size must be greater than or equal to max_execution_batch_size; they are 4 and 8",
        ),
    ],
)
def test_a_wrong_parameter_file_is_refused(tmp_path, text, message):
    path = tmp_path / "batching.pbtxt"
    path.write_text(text)
    with pytest.raises(ValueError) as caught:
        read_parameters(path)
    assert str(path) in str(caught.value) and message in str(caught.value)


def test_a_parameter_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ValueError, match="NOT_FOUND: .*none.pbtxt; No such file or directory"):
        read_parameters(tmp_path / "none.pbtxt")


@pytest.mark.parametrize(("num_rows", "expected"), [(0, 0), (1, 2), (2, 2), (3, 8), (8, 8)])
def test_a_batch_is_filled_up_to_the_next_allowed_size(num_rows, expected):
    assert BatchingParameters(max_batch_size=8, allowed_batch_sizes=(2, 8)).padded_size(num_rows) == expected
    assert BatchingParameters(max_batch_size=8).padded_size(num_rows) == num_rows


def test_a_batch_is_smaller_than_a_request_only_where_requests_are_split():
    limits = {"max_batch_size": 8, "max_execution_batch_size": 4}
    assert BatchingParameters(**limits).execution_size == 8
    assert BatchingParameters(**limits, enable_large_batch_splitting=True).execution_size == 4
