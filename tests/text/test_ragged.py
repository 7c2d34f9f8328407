"""Ragged arrays: indexing, selection and truncation."""

import numpy as np
import tensorflow as tf

from tfbert.text.ragged import Ragged, concatenated, head, take


def test_vectors_of_different_lengths():
    ragged = Ragged(np.array([5, 6, 7, 8, 9]), np.array([0, 2, 2, 5]))
    assert len(ragged) == 3 and ragged.lengths().tolist() == [2, 0, 3]
    assert [ragged[index].tolist() for index in range(3)] == [[5, 6], [], [7, 8, 9]]
    selected = ragged.take(np.array([2, 1, 0, 2]))
    assert [selected[index].tolist() for index in range(4)] == [[7, 8, 9], [], [5, 6], [7, 8, 9]]
    assert ragged.head(2).values.tolist() == [5, 6] and len(ragged.head(2)) == 2
    assert len(ragged.take(np.array([], int))) == 0


def test_arrays_and_ragged_arrays_are_selected_and_truncated_alike():
    ragged, array = Ragged(np.array([5, 6, 7]), np.array([0, 2, 3])), np.array([[1, 2], [3, 4]])
    order = np.array([1, 0])
    assert take(array, order).tolist() == [[3, 4], [1, 2]] and head(array, 1).tolist() == [[1, 2]]
    assert take(ragged, order).values.tolist() == [7, 5, 6] and head(ragged, 1).values.tolist() == [5, 6]


def test_vectors_of_a_tensor():
    ragged = Ragged.from_tensor(tf.ragged.constant([[5, 6], [], [7]], tf.int32))
    assert [ragged[index].tolist() for index in range(3)] == [[5, 6], [], [7]]
    assert ragged.values.dtype == np.int32


def test_concatenation():
    first, second = Ragged(np.array([5, 6, 7]), np.array([0, 2, 3])), Ragged(np.array([8, 9]), np.array([0, 0, 2]))
    together = concatenated([first, second, first])
    assert [together[i].tolist() for i in range(6)] == [[5, 6], [7], [], [8, 9], [5, 6], [7]]
    assert concatenated([np.array([[1, 2]]), np.array([[3, 4]])]).tolist() == [[1, 2], [3, 4]]
