"""The command search: how its worker processes end."""

import signal

import pytest
from support import small

from tfbert import interrupts


@pytest.mark.parametrize("catches", [True, False])
def test_a_worker_of_a_search_keeps_the_default_sigterm_handler(monkeypatch, catches):
    tool = small.load_command("search")
    monkeypatch.setenv("KERASTUNER_TUNER_ID", "chief" if catches else "worker0")
    assert tool.is_worker() is not catches
    monkeypatch.setattr("sys.argv", ["tools/search.py"])
    before, handlers = signal.getsignal(signal.SIGTERM), []
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        tool.program.run(
            "search",
            tool.build_parser,
            lambda options: handlers.append(signal.getsignal(signal.SIGTERM)),
            lambda options: "nothing",
            catches_sigterm=not tool.is_worker(),
        )
    finally:
        signal.signal(signal.SIGTERM, before)
    assert handlers == [interrupts.raise_stopped if catches else signal.SIG_DFL]
