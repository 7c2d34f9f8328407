"""Status codes: the numbers of gRPC, and their HTTP equivalents."""

import grpc
import pytest

from tfbert.serving.server.status import Code, ServingError


def test_codes_are_those_of_grpc():
    assert {code.name: code.grpc.value[0] for code in Code} == {code.name: code.number for code in Code}
    assert {code.grpc for code in Code} == set(grpc.StatusCode)


@pytest.mark.parametrize(
    ("name", "http"),
    [("OK", 200), ("INVALID_ARGUMENT", 400), ("FAILED_PRECONDITION", 400), ("OUT_OF_RANGE", 400)]
    + [("UNAUTHENTICATED", 401), ("PERMISSION_DENIED", 403), ("NOT_FOUND", 404), ("ALREADY_EXISTS", 409)]
    + [("RESOURCE_EXHAUSTED", 429), ("CANCELLED", 499), ("INTERNAL", 500), ("UNKNOWN", 500), ("DATA_LOSS", 500)]
    + [("UNIMPLEMENTED", 501), ("UNAVAILABLE", 503), ("DEADLINE_EXCEEDED", 504)],
)
def test_codes_over_http(name, http):
    assert Code[name].http == http


def test_an_error_names_its_code():
    error = ServingError(Code.NOT_FOUND, "no such model")
    assert (str(error), error.message, error.code) == ("NOT_FOUND: no such model", "no such model", Code.NOT_FOUND)
