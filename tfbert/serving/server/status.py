"""TensorFlow Serving's status codes over HTTP and gRPC, and the error of a failed call."""

import enum

import grpc


class Code(enum.Enum):
    """A status code and its HTTP status.

    Source: TensorFlow Serving 2.20.0, `model_servers/http_server.cc`, `ToHTTPStatusCode`.
    """

    OK = 0, 200
    CANCELLED = 1, 499
    UNKNOWN = 2, 500
    INVALID_ARGUMENT = 3, 400
    DEADLINE_EXCEEDED = 4, 504
    NOT_FOUND = 5, 404
    ALREADY_EXISTS = 6, 409
    PERMISSION_DENIED = 7, 403
    RESOURCE_EXHAUSTED = 8, 429
    FAILED_PRECONDITION = 9, 400
    ABORTED = 10, 409
    OUT_OF_RANGE = 11, 400
    UNIMPLEMENTED = 12, 501
    INTERNAL = 13, 500
    UNAVAILABLE = 14, 503
    DATA_LOSS = 15, 500
    UNAUTHENTICATED = 16, 401

    @property
    def number(self) -> int:
        """The number, which is that of gRPC and of TensorFlow."""
        return self.value[0]

    @property
    def http(self) -> int:
        """The HTTP status."""
        return self.value[1]

    @property
    def grpc(self) -> grpc.StatusCode:
        """The name of the status in gRPC."""
        return grpc.StatusCode[self.name]


class ServingError(Exception):
    """A failed call.

    Args:
        code: says whose fault it is.
        message: for the client, without the code.
    """

    def __init__(self, code: Code, message: str):
        super().__init__(message)
        self.code, self.message = code, message

    def __str__(self) -> str:
        return f"{self.code.name}: {self.message}"
