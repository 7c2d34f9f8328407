"""Masking: which tokens of a row are to be predicted, and what the encoder sees in their place.

A mask depends on seed, draw and row alone: not on the batch a row is in, nor on the order of rows, nor on a process.
"""

from dataclasses import dataclass

import numpy as np

from tfbert.pretraining.config import ObjectiveConfig
from tfbert.text.tokenizer import SpecialTokens

# Of the tokens to be guessed: this share becomes [MASK], as much as the second a random token, the rest stays.
_MASK_SHARE, _RANDOM_SHARE = 0.8, 0.1
# Lengths of spans in words: geometric, cut at the longest and normalised.
_SPAN_PROBABILITY, _LONGEST_SPAN = 0.2, 10
# The draw of held-out rows, whose masks stay; epochs draw with their 1-based numbers.
HELD_OUT_DRAW = 0
_STREAMS = {name: index for index, name in enumerate(("word", "span", "kind", "token", "offset"))}


@dataclass(frozen=True)
class Masker:
    """Chooses the tokens to predict and masks them.

    Args:
        objective: which share, and by what.
        special: tokens that are never chosen, nor put in the place of one that is: [UNK] too.
        vocabulary_size: tokens of the vocabulary, from which random ones are taken.
        seed: of the run.

    Source: Devlin et al. 2019, section 3.1 and appendix A.1, for the shares; Google's whole-word masking of 2019; Joshi
        et al. 2020, "SpanBERT", section 3.1, for spans. Ours differs: every row has exactly its share of masked tokens.
        Where a word would not fit any more, another is taken, and only if none fits it is cut. Spans do not cross
        [SEP]; each of their tokens is hidden, exchanged or left for itself, where SpanBERT decides for the whole span.
    """

    objective: ObjectiveConfig
    special: SpecialTokens
    vocabulary_size: int
    seed: int

    def num_positions(self, length: int) -> int:
        """Return for how many guesses batches of this length have room."""
        return max(1, round(self.objective.mask_fraction * (length - 2)))

    def __call__(
        self, token_ids: np.ndarray, continues: np.ndarray, rows: np.ndarray, draw: int
    ) -> dict[str, np.ndarray]:
        """Mask a batch.

        Args:
            token_ids: int `(batch, length)`, padded, with [CLS] and [SEP].
            continues: bool `(batch, length)`, whether a token belongs to the word of the token before it.
            rows: int `(batch,)`, the number of each row.
            draw: another one gives other masks.

        Returns:
            `token_ids` int32 `(batch, length)` as the model sees them; `positions` and `targets` int32
            `(batch, num_positions)`, which tokens are to be guessed, in their order, and what they are; `weights`
            float32 likewise, 0 where a row has fewer. A row without a token that may be chosen has none.
        """
        special = [self.special.padding, self.special.unknown, self.special.start, self.special.end, self.special.mask]
        is_free = ~np.isin(token_ids, special)
        counts = np.rint(self.objective.mask_fraction * is_free.sum(axis=1)).astype(np.int64)
        counts = np.where(is_free.any(axis=1), np.maximum(counts, 1), 0)
        words = np.cumsum(~(continues & is_free), axis=1) - 1
        keys = np.where(is_free, self._keys(words, is_free, rows, draw), np.inf)
        order = _whole(keys, words, counts)
        width = self.num_positions(token_ids.shape[1])
        taken = np.arange(width) < counts[:, None]
        # Behind the chosen ones stand positions beyond the row, so that sorting keeps them there.
        positions = np.sort(np.where(taken, order[:, :width], token_ids.shape[1]), axis=1)
        positions = np.where(taken, positions, 0)
        targets = np.take_along_axis(token_ids, positions, axis=1)
        shown = self._shown(targets, positions, rows, draw)
        masked = token_ids.astype(np.int32)
        at = np.nonzero(taken)
        masked[at[0], positions[taken]] = shown[taken]
        return {
            "token_ids": masked,
            "positions": positions.astype(np.int32),
            "targets": np.where(taken, targets, 0).astype(np.int32),
            "weights": taken.astype(np.float32),
        }

    def offsets(self, rows: np.ndarray, draw: int, room: np.ndarray) -> np.ndarray:
        """Return for each row a place to cut it at: int64 `(rows,)`, from 0 to `room`, inclusive."""
        draws = self._uniform("offset", rows[:, None], np.zeros((1, 1), np.int64), draw)[:, 0]
        return (draws * (room + 1)).astype(np.int64)

    def _keys(self, words: np.ndarray, is_free: np.ndarray, rows: np.ndarray, draw: int) -> np.ndarray:
        """Return what tokens are ordered by: float64 `(batch, length)` in [0, 1), the same for all of a word."""
        position = np.arange(words.shape[1])[None, :]
        if self.objective.masking == "token":
            return self._uniform("word", rows[:, None], position, draw)
        by_word = self._uniform("word", rows[:, None], position, draw)
        if self.objective.masking == "span":
            by_word = self._best_span(by_word, words, is_free, rows, draw)
        return np.take_along_axis(by_word, words, axis=1)

    def _best_span(self, starts, words, is_free, rows, draw) -> np.ndarray:
        """Return the lowest key of the spans that cover each word, by word.

        Every word begins a span of random length, and the spans are taken in the order of their keys.
        """
        shares = (1 - _SPAN_PROBABILITY) ** np.arange(_LONGEST_SPAN)
        bounds = np.cumsum(shares / shares.sum())[:-1]
        draws = self._uniform("span", rows[:, None], np.arange(words.shape[1])[None, :], draw)
        sizes = 1 + np.searchsorted(bounds, draws, side="right")
        # Words between two special tokens have one number; a span stays with it.
        part = np.zeros_like(words)
        np.put_along_axis(part, words, np.cumsum(~is_free, axis=1), axis=1)
        is_word = np.zeros_like(is_free)
        np.put_along_axis(is_word, words, is_free, axis=1)
        starts = np.where(is_word, starts, np.inf)
        best = starts.copy()
        for step in range(1, _LONGEST_SPAN):
            reaches = (sizes[:, :-step] > step) & (part[:, :-step] == part[:, step:])
            best[:, step:] = np.minimum(best[:, step:], np.where(reaches, starts[:, :-step], np.inf))
        return best

    def _shown(self, targets: np.ndarray, positions: np.ndarray, rows: np.ndarray, draw: int) -> np.ndarray:
        """Return what stands in the place of each chosen token."""
        kind = self._uniform("kind", rows[:, None], positions, draw)
        special = sorted(vars(self.special).values())
        draws = self._uniform("token", rows[:, None], positions, draw)
        random = (draws * (self.vocabulary_size - len(special))).astype(np.int64)
        for token_id in special:  # counted past, lowest first
            random += random >= token_id
        shown = np.where(kind < _MASK_SHARE, self.special.mask, targets)
        is_random = (kind >= _MASK_SHARE) & (kind < _MASK_SHARE + _RANDOM_SHARE)
        return np.where(is_random, random, shown)

    def _uniform(self, stream: str, rows: np.ndarray, positions: np.ndarray, draw: int) -> np.ndarray:
        """Return a number in [0, 1) for every row and position, equal whenever it is asked for."""
        start = np.zeros(1, np.uint64)
        for number in (self.seed, draw, _STREAMS[stream]):
            start = _mixed(start + np.uint64(number))
        return (
            _mixed(_mixed(start + rows.astype(np.uint64)) + positions.astype(np.uint64)) >> np.uint64(11)
        ) * 2.0**-53


def _mixed(number: np.ndarray) -> np.ndarray:
    """Return 64 bits that look random, others for every other number.

    Source: Steele, Lea and Flood 2014, "Fast Splittable Pseudorandom Number Generators", figure 17, with the constants
        of `splitmix64`.
    """
    number = number * np.uint64(0x9E3779B97F4A7C15) + np.uint64(0x9E3779B97F4A7C15)
    number = (number ^ (number >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    number = (number ^ (number >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return number ^ (number >> np.uint64(31))


def _whole(keys: np.ndarray, words: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return every row's positions, those that are to be chosen first, words as a whole where that is possible.

    Args:
        keys: float64 `(batch, length)`, lowest first; infinite for what is never chosen.
        words: int `(batch, length)`, the word of each token.
        counts: int `(batch,)`, how many are chosen.
    """
    keys, order = keys.copy(), np.argsort(keys, axis=1, kind="stable")
    rows = np.nonzero((counts > 0) & (counts < keys.shape[1]))[0]
    while len(rows):
        last, after = order[rows, counts[rows] - 1], order[rows, counts[rows]]
        is_cut = (words[rows, last] == words[rows, after]) & np.isfinite(keys[rows, after]) & (keys[rows, last] < 2)
        rows, last = rows[is_cut], last[is_cut]
        # Put behind all words that may fit. There it can be cut only if nothing else was left.
        of_word = words[rows] == words[rows, last][:, None]
        keys[rows] = np.where(of_word & np.isfinite(keys[rows]), keys[rows] + 2, keys[rows])
        order[rows] = np.argsort(keys[rows], axis=1, kind="stable")
    return order
