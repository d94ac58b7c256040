"""The messages and services of generation 0.0.x, as compiled into the `openshell` wheel on the package index.

`openshell_proto` is that wheel's `_proto` folder; wheel.py puts it beside this package. Nothing of it is in the
repository.
"""

import time

import grpc
from openshell_proto import (  # type: ignore[import-not-found]
    datamodel_pb2,
    inference_pb2,
    inference_pb2_grpc,
    openshell_pb2,
    openshell_pb2_grpc,
    sandbox_pb2,
)

VERSION = "0.0.111"
MESSAGE_BYTES = 1 << 20  # the real gateway's receive limit for one message

m, data, box, inf = openshell_pb2, datamodel_pb2, sandbox_pb2, inference_pb2
grpc_openshell, grpc_inference = openshell_pb2_grpc, inference_pb2_grpc


class Refusal(Exception):
    """A call refused, with the code and the text that a real gateway answers."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        super().__init__(text)
        self.code, self.text = code, text


def invalid(text: str) -> Refusal:
    return Refusal(grpc.StatusCode.INVALID_ARGUMENT, text)


def missing(text: str) -> Refusal:
    return Refusal(grpc.StatusCode.NOT_FOUND, text)


def exists(text: str) -> Refusal:
    return Refusal(grpc.StatusCode.ALREADY_EXISTS, text)


def precondition(text: str) -> Refusal:
    return Refusal(grpc.StatusCode.FAILED_PRECONDITION, text)


def unavailable(text: str) -> Refusal:
    return Refusal(grpc.StatusCode.UNAVAILABLE, text)


def now() -> int:
    """Milliseconds since 1970, as all times in these messages."""
    return int(time.time() * 1000)
