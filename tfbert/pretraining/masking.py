"""Masked language modeling: chooses the tokens to predict and masks them, as tokens, whole words or spans.

A mask depends only on seed, draw and sequence: not on the batch, the order of the sequences or the process.
"""

from dataclasses import dataclass

import numpy as np

from tfbert.pretraining.config import ObjectiveConfig
from tfbert.text.tokenizer import SpecialTokens

# Of the tokens to predict, these fractions become [MASK] and a random token; the rest stays unchanged.
_MASK_FRACTION, _RANDOM_FRACTION = 0.8, 0.1
# Span lengths in words follow a geometric distribution, truncated at the maximum and normalized.
_SPAN_PROBABILITY, _MAX_SPAN_WORDS = 0.2, 10
# The draw of held-out sequences, whose masks never change; the draw of an epoch is its 1-based number.
HELD_OUT_DRAW = 0
_STREAMS = {name: index for index, name in enumerate(("word", "span", "kind", "token", "offset"))}


@dataclass(frozen=True)
class Masker:
    """Chooses the tokens to predict and masks them.

    Args:
        objective: fraction and kind of masking.
        special: tokens, including [UNK], that are neither predicted nor used as random replacements.
        vocabulary_size: number of tokens to draw random replacements from.
        seed: random seed of the run.

    Source: Devlin et al. 2019, section 3.1 and appendix A.1, for the fractions; Google's whole-word masking of 2019;
        Joshi et al. 2020, "SpanBERT", section 3.1, for spans. Ours differs: the number of tokens to predict is exact in
        every sequence. If a word does not fit, another one is taken; it is cut only if no other word fits. Spans do not
        cross [SEP]; their tokens are masked, replaced or kept one by one, where SpanBERT decides for the whole span.
    """

    objective: ObjectiveConfig
    special: SpecialTokens
    vocabulary_size: int
    seed: int

    def num_positions(self, length: int) -> int:
        """Return the maximum number of tokens to predict in a batch of this length."""
        return max(1, round(self.objective.mask_fraction * (length - 2)))

    def __call__(
        self, token_ids: np.ndarray, continues: np.ndarray, indices: np.ndarray, draw: int
    ) -> dict[str, np.ndarray]:
        """Mask a batch.

        Args:
            token_ids: int `(batch, length)`, padded, with [CLS] and [SEP].
            continues: bool `(batch, length)`, whether a token continues the word of the previous token.
            indices: int `(batch,)`, index of each sequence in the corpus.
            draw: index of the random draw.

        Returns:
            `token_ids` int32 `(batch, length)` as the model sees them; `positions` of the tokens to predict, ascending,
            and `targets`, their original ids, int32 `(batch, num_positions)`; `weights` float32
            `(batch, num_positions)`, 0 in unused positions. A sequence of special tokens only has weights of 0.
        """
        special = [self.special.padding, self.special.unknown, self.special.start, self.special.end, self.special.mask]
        is_maskable = ~np.isin(token_ids, special)
        counts = np.rint(self.objective.mask_fraction * is_maskable.sum(axis=1)).astype(np.int64)
        counts = np.where(is_maskable.any(axis=1), np.maximum(counts, 1), 0)
        words = np.cumsum(~(continues & is_maskable), axis=1) - 1
        keys = np.where(is_maskable, self._keys(words, is_maskable, indices, draw), np.inf)
        order = _order_by_word(keys, words, counts)
        num_positions = self.num_positions(token_ids.shape[1])
        is_used = np.arange(num_positions) < counts[:, None]
        # Unused positions are set beyond the sequence, so that they stay last when sorted.
        positions = np.sort(np.where(is_used, order[:, :num_positions], token_ids.shape[1]), axis=1)
        positions = np.where(is_used, positions, 0)
        targets = np.take_along_axis(token_ids, positions, axis=1)
        replacements = self._replacements(targets, positions, indices, draw)
        masked = token_ids.astype(np.int32)
        masked[np.nonzero(is_used)[0], positions[is_used]] = replacements[is_used]
        return {
            "token_ids": masked,
            "positions": positions.astype(np.int32),
            "targets": np.where(is_used, targets, 0).astype(np.int32),
            "weights": is_used.astype(np.float32),
        }

    def offsets(self, indices: np.ndarray, draw: int, max_offsets: np.ndarray) -> np.ndarray:
        """Return a random offset for each sequence: int64 `(batch,)`, from 0 to `max_offsets`, inclusive."""
        draws = self._uniform("offset", indices[:, None], np.zeros((1, 1), np.int64), draw)[:, 0]
        return (draws * (max_offsets + 1)).astype(np.int64)

    def _keys(self, words: np.ndarray, is_maskable: np.ndarray, indices: np.ndarray, draw: int) -> np.ndarray:
        """Return random sort keys of the tokens: float64 `(batch, length)` in [0, 1), equal within a word."""
        keys = self._uniform("word", indices[:, None], np.arange(words.shape[1])[None, :], draw)
        if self.objective.masking == "token":
            return keys
        if self.objective.masking == "span":
            keys = self._span_keys(keys, words, is_maskable, indices, draw)
        return np.take_along_axis(keys, words, axis=1)

    def _span_keys(self, start_keys, words, is_maskable, indices, draw) -> np.ndarray:
        """Return for each word the lowest key of the spans that cover it.

        A span of random length starts at every word, and spans are chosen in the order of their keys.
        """
        probabilities = (1 - _SPAN_PROBABILITY) ** np.arange(_MAX_SPAN_WORDS)
        bounds = np.cumsum(probabilities / probabilities.sum())[:-1]
        draws = self._uniform("span", indices[:, None], np.arange(words.shape[1])[None, :], draw)
        lengths = 1 + np.searchsorted(bounds, draws, side="right")
        # Words between the same two special tokens have the same number; a span must not leave them.
        segment = np.zeros_like(words)
        np.put_along_axis(segment, words, np.cumsum(~is_maskable, axis=1), axis=1)
        is_word = np.zeros_like(is_maskable)
        np.put_along_axis(is_word, words, is_maskable, axis=1)
        start_keys = np.where(is_word, start_keys, np.inf)
        best = start_keys.copy()
        for step in range(1, _MAX_SPAN_WORDS):
            is_covered = (lengths[:, :-step] > step) & (segment[:, :-step] == segment[:, step:])
            best[:, step:] = np.minimum(best[:, step:], np.where(is_covered, start_keys[:, :-step], np.inf))
        return best

    def _replacements(self, targets: np.ndarray, positions: np.ndarray, indices: np.ndarray, draw: int) -> np.ndarray:
        """Return the token that the encoder sees instead of each token to predict."""
        kind = self._uniform("kind", indices[:, None], positions, draw)
        special = sorted(vars(self.special).values())
        draws = self._uniform("token", indices[:, None], positions, draw)
        random = (draws * (self.vocabulary_size - len(special))).astype(np.int64)
        for token_id in special:  # skip them, lowest first
            random += random >= token_id
        replacements = np.where(kind < _MASK_FRACTION, self.special.mask, targets)
        is_random = (kind >= _MASK_FRACTION) & (kind < _MASK_FRACTION + _RANDOM_FRACTION)
        return np.where(is_random, random, replacements)

    def _uniform(self, stream: str, indices: np.ndarray, positions: np.ndarray, draw: int) -> np.ndarray:
        """Return a reproducible random number in [0, 1) for every sequence and position."""
        start = np.zeros(1, np.uint64)
        for number in (self.seed, draw, _STREAMS[stream]):
            start = _splitmix64(start + np.uint64(number))
        by_sequence = _splitmix64(start + indices.astype(np.uint64))
        return (_splitmix64(by_sequence + positions.astype(np.uint64)) >> np.uint64(11)) * 2.0**-53


def _splitmix64(number: np.ndarray) -> np.ndarray:
    """Hash numbers to 64 random-looking bits.

    Source: Steele, Lea and Flood 2014, "Fast Splittable Pseudorandom Number Generators", figure 17, with the constants
        of `splitmix64`.
    """
    number = number * np.uint64(0x9E3779B97F4A7C15) + np.uint64(0x9E3779B97F4A7C15)
    number = (number ^ (number >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    number = (number ^ (number >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return number ^ (number >> np.uint64(31))


def _order_by_word(keys: np.ndarray, words: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the positions of every sequence in the order of choice, such that words are cut only if unavoidable.

    Args:
        keys: float64 `(batch, length)`, lowest first; infinite for tokens that are never chosen.
        words: int `(batch, length)`, index of the word of each token.
        counts: int `(batch,)`, number of tokens to choose.
    """
    keys, order = keys.copy(), np.argsort(keys, axis=1, kind="stable")
    rows = np.nonzero((counts > 0) & (counts < keys.shape[1]))[0]
    while len(rows):
        last, after = order[rows, counts[rows] - 1], order[rows, counts[rows]]
        is_cut = (words[rows, last] == words[rows, after]) & np.isfinite(keys[rows, after]) & (keys[rows, last] < 2)
        rows, last = rows[is_cut], last[is_cut]
        # Move the word after all words that may fit. There it is cut only if nothing else is left.
        is_in_word = words[rows] == words[rows, last][:, None]
        keys[rows] = np.where(is_in_word & np.isfinite(keys[rows]), keys[rows] + 2, keys[rows])
        order[rows] = np.argsort(keys[rows], axis=1, kind="stable")
    return order
