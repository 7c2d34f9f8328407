"""Serve SavedModels on this machine as TensorFlow Serving does: the same flags, protocols and answers.

For development, tests and small internal use; production is TensorFlow Serving. Listens on 127.0.0.1 unless told.
"""

import argparse
import logging
import signal
import threading
from pathlib import Path

import common


def build_parser() -> argparse.ArgumentParser:
    """Return the command line of this tool."""
    from tfbert.serving.server.flags import add_flags

    parser = argparse.ArgumentParser(prog="serve", description=__doc__)
    add_flags(parser)
    return parser


def main(options: argparse.Namespace) -> None:
    """Serve until the process is told to stop."""
    from tfbert.serving.server.flags import options_of

    said, ignored = options_of(vars(options))
    said.check()
    log = logging.getLogger("tfbert")
    for name in ignored:
        log.warning("--%s has no effect here", name)
    if said.exposure:
        log.warning("%s", said.exposure)
    try:
        from tfbert.serving.server.server import Server
    except ModuleNotFoundError as error:
        raise ValueError(f"{error}; wanted the extra `serve`: pip install '.[serve]' in the checkout") from None

    _check_files(said)
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    server = Server(said)
    for kind, port in (("gRPC", said.port), ("REST", said.rest_api_port)):
        if port:
            log.info("%s on %s:%d", kind, said.host, port)
    log.info("for development and tests; production is TensorFlow Serving")
    stopped.wait()
    log.info("finishing what is being answered")
    server.close()


def _check_files(said) -> None:
    """Refuse to start with a damaged model; one that arrives later is only logged, as in TensorFlow Serving."""
    from tfbert.serving import loading, saved_predictor

    base = Path(said.model_base_path or "")
    if said.model_base_path and any(base.glob("*/saved_model.pb")):
        loading.check(saved_predictor.find_version(base))


if __name__ == "__main__":
    common.run(main, build_parser(), lambda options: "tensorflow")
