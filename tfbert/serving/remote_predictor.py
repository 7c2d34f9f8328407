"""The predictor of a model on a server: yields items with their predictions."""

import collections
from collections.abc import Iterable, Iterator, Mapping, Sequence

from tfbert.serving.client import Client
from tfbert.tasks.base_outputs import EXPLAIN, declared, without_padding


class RemotePredictor:
    """The predictor of a model on a server.

    Args:
        client: a client of the model.

    Attributes:
        inputs: dtype and rank of each input, by name.

    Raises:
        ServerError: the server does not respond, or has no such model.
    """

    def __init__(self, client: Client):
        self.client = client
        self.inputs = client.inputs()

    def predict(self, items: Iterable[Mapping]) -> Iterator[tuple[Mapping, dict]]:
        """Yield each item with its prediction, ready for JSON and without padding, in order.

        A server does not tell the task of a model, so the padding of other models than those of tfbert's tasks stays.

        Args:
            items: any number; read lazily, as many at a time as the client sends in one request.

        Raises:
            ServerError: the server returned an error or did not respond.
        """
        return self._call(items, "serving_default")

    def explain(self, items: Iterable[Mapping], label: str = "", method: str = "") -> Iterator[tuple[Mapping, dict]]:
        """Yield each item with its explanation, ready for JSON and without padding, in order.

        Args:
            items: any number; read lazily.
            label: the label to explain; "" for the predicted one.
            method: `occlusion` or `gradients`; "" for the default.

        Raises:
            ServerError: the server returned an error or did not respond, or the model has no explanations.
        """
        for item, outputs in self._call(({**item, "label": label, "method": method} for item in items), EXPLAIN):
            yield {name: item[name] for name in self.inputs}, outputs

    def _call(self, items: Iterable[Mapping], signature: str) -> Iterator[tuple[Mapping, dict]]:
        sent: collections.deque = collections.deque()
        for outputs in self.client.predict((item for item in items if sent.append(item) is None), signature):
            # A server does not name a single output.
            named = dict(sorted(outputs.items())) if isinstance(outputs, dict) else {"output": outputs}
            item = sent.popleft()
            yield item, without_padding(declared(named), item, named)


def parse_headers(headers: Sequence[str]) -> dict[str, str]:
    """Return request headers by lower-case name.

    Args:
        headers: `NAME:VALUE`, as `--header` gives them.

    Raises:
        ValueError: a header has no name, colon or value.
    """
    for header in headers:
        if not all(header.partition(":")):
            raise ValueError(f"--header '{header}': expected NAME:VALUE")
    parts = (header.partition(":") for header in headers)
    return {name.strip().lower(): value.strip() for name, _, value in parts}
