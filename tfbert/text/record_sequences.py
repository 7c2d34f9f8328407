"""The token sequences of single records as NumPy arrays, from those of a batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tfbert.text.preprocessor import Sequences
from tfbert.text.ragged import Ragged
from tfbert.text.records import Record


@dataclass(frozen=True)
class TextTokens:
    """One text as tokens, without special tokens.

    Args:
        ids: int32 `(tokens,)`.
        starts: int32 `(tokens,)`, the first character of each token in the text; `None` without offsets.
        ends: likewise, exclusive.
    """

    ids: np.ndarray
    starts: np.ndarray | None = None
    ends: np.ndarray | None = None


@dataclass(frozen=True)
class RecordSequences:
    """The sequences of one record.

    Args:
        token_ids: int32 vectors with special tokens.
        texts: the tokenized texts by the name of the input, one or several.
        window_starts: the first token of each window in the text; empty where texts are not read in windows.
        window_lengths: the number of text tokens in each window.
        token_values: further values of the tokens of the text, by name.
    """

    token_ids: Sequence[np.ndarray]
    texts: Mapping[str, Sequence[TextTokens]]
    window_starts: Sequence[int] = ()
    window_lengths: Sequence[int] = ()
    token_values: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.token_ids)


class Chunk:
    """The sequences of some records as NumPy arrays."""

    def __init__(self, records: Sequence[Record], sequences: Sequences, unknown_id: int):
        self.records, number = records, len(records)
        self.token_ids = Ragged.of(sequences.token_ids)
        self.second_starts = sequences.second_starts.numpy()
        self.features = {name: values.numpy() for name, values in sequences.features.items()}
        owners = np.arange(number) if sequences.records is None else sequences.records.numpy()
        self.first_sequences = np.searchsorted(owners, np.arange(number + 1))
        self._windows = sequences.windows
        if sequences.windows is not None:
            self._window_starts = sequences.windows.starts.numpy()
            self._window_lengths = sequences.windows.token_ids.row_lengths().numpy()
        self._token_values = {name: Ragged.of(values) for name, values in sequences.token_values.items()}
        self._texts = {}
        self.num_texts, self.num_text_tokens = np.zeros(number, np.int64), np.zeros(number, np.int64)
        self.num_unknown_tokens = 0
        for name, text in sequences.texts.items():
            parts = [Ragged.of(part) for part in (text.ids, text.starts, text.ends) if part is not None]
            text_owners = np.arange(number) if text.records is None else text.records.numpy()
            self._texts[name] = parts, np.searchsorted(text_owners, np.arange(number + 1))
            np.add.at(self.num_texts, text_owners, 1)
            np.add.at(self.num_text_tokens, text_owners, parts[0].lengths())
            self.num_unknown_tokens += np.count_nonzero(parts[0].values == unknown_id)

    def sequences_of(self, index: int) -> RecordSequences:
        """Return the sequences of a record."""
        begin, end = self.first_sequences[index], self.first_sequences[index + 1]
        has_windows = self._windows is not None
        return RecordSequences(
            token_ids=[self.token_ids[at] for at in range(begin, end)],
            texts={
                name: [TextTokens(*(part[at] for part in parts)) for at in range(first[index], first[index + 1])]
                for name, (parts, first) in self._texts.items()
            },
            window_starts=self._window_starts[begin:end].tolist() if has_windows else (),
            window_lengths=self._window_lengths[begin:end].tolist() if has_windows else (),
            token_values={name: values[index] for name, values in self._token_values.items()},
        )
