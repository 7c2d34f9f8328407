"""Serve SavedModels on this machine with the flags, protocols and responses of TensorFlow Serving.

For development, tests and small internal use; use TensorFlow Serving in production. Listens on 127.0.0.1 by default.
"""

import argparse
import logging
import signal
import threading
from pathlib import Path

from tfbert.commands import program
from tfbert.extras import import_library


def build_parser(prog: str) -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    from tfbert.serving.server.flags import add_flags

    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    add_flags(parser)
    return parser


def main(options: argparse.Namespace) -> None:
    """Serve until a signal stops the process.

    Raises:
        ValueError: a flag, a package or a model is missing or cannot be used.
    """
    from tfbert.serving.server.flags import options_of

    server_options, ignored = options_of(vars(options))
    server_options.check()
    log = logging.getLogger("tfbert")
    for name in ignored:
        log.warning("--%s has no effect here", name)
    if server_options.exposure:
        log.warning("%s", server_options.exposure)
    server_module = import_library("tfbert.serving.server.server", "the server", "serve")

    _check_files(server_options)
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    server = server_module.Server(server_options)
    for protocol, port in (("gRPC", server_options.port), ("REST", server_options.rest_api_port)):
        if port:
            log.info("%s on %s:%d", protocol, server_options.host, port)
    log.info("for development and tests; use TensorFlow Serving in production")
    stopped.wait()
    log.info("finishing open requests")
    server.close()


def _check_files(server_options) -> None:
    """Check the newest version, so that the server does not start with a damaged model; later ones are only logged."""
    from tfbert.serving import loading, saved_predictor

    base = Path(server_options.model_base_path or "")
    if server_options.model_base_path and any(base.glob("*/saved_model.pb")):
        loading.check(saved_predictor.find_version(base))


def run() -> None:
    """Run the command with the arguments of this process, and exit."""
    program.run("serve", build_parser, main, needs=lambda options: "tensorflow")
