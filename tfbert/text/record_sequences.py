"""Token sequences of single records as NumPy arrays, sliced from a tokenized batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import tensorflow as tf

from tfbert.text.preprocessor import Sequences
from tfbert.text.ragged import Ragged
from tfbert.text.records import Record


@dataclass(frozen=True)
class TextTokens:
    """The tokens of one text, without special tokens.

    Args:
        ids: int32 `(tokens,)`.
        starts: int32 `(tokens,)`, the first character of each token; `None` if offsets were not requested.
        ends: int32 `(tokens,)`, the exclusive end of each token; `None` likewise.
    """

    ids: np.ndarray
    starts: np.ndarray | None = None
    ends: np.ndarray | None = None


@dataclass(frozen=True)
class RecordSequences:
    """The token sequences of one record.

    Args:
        token_ids: an int32 vector per sequence, including special tokens.
        texts: input name to its tokenized texts.
        window_starts: the position in the text of the first token of each window; empty if texts are not split into
            windows.
        window_lengths: the number of text tokens in each window; empty likewise.
        token_values: name to a vector of values, one per token of the only text of the record.
    """

    token_ids: Sequence[np.ndarray]
    texts: Mapping[str, Sequence[TextTokens]]
    window_starts: Sequence[int] = ()
    window_lengths: Sequence[int] = ()
    token_values: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.token_ids)


class Chunk:
    """The token sequences of a batch of records as NumPy arrays.

    Args:
        records: the records of the batch.
        sequences: their sequences, as eager tensors.
        unknown_id: the id of [UNK].
    """

    def __init__(self, records: Sequence[Record], sequences: Sequences, unknown_id: int):
        self.records, num_records = records, len(records)
        self.token_ids = Ragged.from_tensor(sequences.token_ids)
        self.second_starts = sequences.second_starts.numpy()
        self.features = {name: values.numpy() for name, values in sequences.features.items()}
        self.first_sequences = _first_positions(sequences.records, num_records)
        self._windows = sequences.windows
        if sequences.windows is not None:
            self._window_starts = sequences.windows.starts.numpy()
            self._window_lengths = sequences.windows.token_ids.row_lengths().numpy()
        self._token_values = {name: Ragged.from_tensor(values) for name, values in sequences.token_values.items()}
        self._texts = {}
        self.num_texts, self.num_text_tokens = np.zeros(num_records, np.int64), np.zeros(num_records, np.int64)
        self.num_unknown_tokens = 0
        for name, text in sequences.texts.items():
            arrays = [Ragged.from_tensor(values) for values in (text.ids, text.starts, text.ends) if values is not None]
            record_of_text = _record_indices(text.records, num_records)
            self._texts[name] = arrays, _first_positions(text.records, num_records)
            np.add.at(self.num_texts, record_of_text, 1)
            np.add.at(self.num_text_tokens, record_of_text, arrays[0].lengths())
            self.num_unknown_tokens += np.count_nonzero(arrays[0].values == unknown_id)

    def sequences_of(self, index: int) -> RecordSequences:
        """Return the sequences of the record at an index of the batch."""
        begin, end = self.first_sequences[index], self.first_sequences[index + 1]
        has_windows = self._windows is not None
        return RecordSequences(
            token_ids=[self.token_ids[i] for i in range(begin, end)],
            texts={
                name: [TextTokens(*(array[i] for array in arrays)) for i in range(first[index], first[index + 1])]
                for name, (arrays, first) in self._texts.items()
            },
            window_starts=self._window_starts[begin:end].tolist() if has_windows else (),
            window_lengths=self._window_lengths[begin:end].tolist() if has_windows else (),
            token_values={name: values[index] for name, values in self._token_values.items()},
        )


def _record_indices(records: tf.Tensor | None, num_records: int) -> np.ndarray:
    """Return the record of each sequence or text; `None` means that every record has exactly one."""
    return np.arange(num_records) if records is None else records.numpy()


def _first_positions(records: tf.Tensor | None, num_records: int) -> np.ndarray:
    """Return the position of the first sequence or text of each record, and their number at the end."""
    return np.searchsorted(_record_indices(records, num_records), np.arange(num_records + 1))
