"""Domains: valid p-values for in-domain texts, recognition of other texts, and the choice of a method."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.special import logsumexp
from sklearn.covariance import LedoitWolf
from sklearn.metrics import roc_auc_score

from tfbert.calibration.out_of_domain import METHODS, Domain, Pooled, choose_method

DIM, NUM_LABELS = 12, 6
CENTRES = np.random.default_rng(0).normal(size=(NUM_LABELS, DIM)).astype(np.float32) * 3


def texts(num_per_label, seed, labels=range(NUM_LABELS)):
    """Return vectors around the centres of labels, with logits that fall with the distance to each centre."""
    rng = np.random.default_rng(seed)
    targets = np.repeat(np.array(list(labels)), num_per_label)
    vectors = (CENTRES[targets] + rng.normal(size=(len(targets), DIM))).astype(np.float32)
    logits = -0.5 * ((vectors[:, None] - CENTRES) ** 2).sum(-1) + 30
    return Pooled(vectors, targets, logits.astype(np.float32))


def other_texts(number, seed):
    vectors = np.random.default_rng(seed).normal(size=(number, DIM)).astype(np.float32) * 4
    return Pooled(vectors, logits=(-0.5 * ((vectors[:, None] - CENTRES) ** 2).sum(-1) + 30).astype(np.float32))


def p_values(domain, values, pooled):
    variables = {name: tf.constant(value) for name, value in values.items()}
    return domain.p_value(tf.constant(pooled.vectors), tf.constant(pooled.logits), variables).numpy()


@pytest.mark.parametrize("method", METHODS)
def test_p_values_of_in_domain_texts_are_rarely_small_and_those_of_others_often(method):
    refused, domain = [], Domain()
    for seed in range(20):
        values = domain.fit(method, texts(40, 100 + seed), texts(30, 200 + seed))
        p_in, p_out = (p_values(domain, values, pooled) for pooled in (texts(50, seed), other_texts(200, seed)))
        refused.append((p_in < 0.05).mean())
        assert p_in.dtype == np.float32 and (p_in > 0).all() and (p_in <= 1).all()
        assert roc_auc_score(np.r_[np.zeros(len(p_in)), np.ones(len(p_out))], -np.r_[p_in, p_out]) > 0.9
    assert np.mean(refused) <= 0.06


def test_the_p_value_counts_calibration_records_that_are_at_least_as_unusual():
    domain, calibration = Domain(), texts(10, 1)
    values = domain.fit("energy", texts(10, 0), calibration)
    np.testing.assert_array_equal(values["calibration_scores"], np.sort(values["calibration_scores"]))
    new = other_texts(7, 3)
    energies = [-logsumexp(pooled.logits, axis=-1) for pooled in (calibration, new)]
    expected = (1 + (energies[0][None] >= energies[1][:, None]).sum(-1)) / 61
    np.testing.assert_allclose(p_values(domain, values, new), expected, atol=1e-6)


def test_the_distance_is_that_of_mahalanobis():
    domain, train, calibration = Domain(), texts(20, 0), texts(5, 1)
    values = domain.fit("mahalanobis", train, calibration)
    means = np.stack([train.vectors[train.targets == label].mean(0) for label in range(NUM_LABELS)])
    peer = LedoitWolf(assume_centered=True).fit(train.vectors - means[train.targets])
    differences = calibration.vectors[:, None] - means
    distances = np.einsum("nld,de,nle->nl", differences, np.linalg.inv(peer.covariance_), differences).min(-1)
    np.testing.assert_allclose(values["calibration_scores"], np.sort(distances), rtol=1e-3)


def test_a_new_domain_accepts_every_text():
    values = Domain().initial(DIM)
    np.testing.assert_array_equal(p_values(Domain(), values, other_texts(3, 0)), 1)


def test_a_domain_without_labels_uses_vectors_only():
    domain, train = Domain(), texts(30, 0)
    values = domain.fit("neighbours", Pooled(train.vectors), Pooled(texts(30, 1).vectors))
    variables = {name: tf.constant(value) for name, value in values.items()}
    p_in = domain.p_value(tf.constant(texts(30, 2).vectors), None, variables).numpy()
    p_out = domain.p_value(tf.constant(other_texts(100, 2).vectors), None, variables).numpy()
    assert (p_in < 0.05).mean() < 0.12 and (p_out < 0.05).mean() > 0.5
    assert choose_method(Pooled(train.vectors), Pooled(train.vectors), 0) == "neighbours"


def test_the_chosen_method_is_the_one_that_recognizes_labels_that_were_left_out():
    # The texts of a label are at both ends of one of many lines in a plane, so that all labels have the same mean.
    angles = np.pi * np.arange(NUM_LABELS) / NUM_LABELS
    ends = 5 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    ends = np.concatenate([ends, -ends])

    def clusters(number, seed):
        noise, which = np.random.default_rng(seed).normal(size=(number, 2)), np.arange(number) % len(ends)
        return Pooled((ends[which] + 0.1 * noise).astype(np.float32), which % NUM_LABELS)

    assert choose_method(clusters(240, 0), clusters(120, 1), 0) == "neighbours"
    assert choose_method(texts(40, 0, range(2)), texts(20, 1, range(2)), 0) in ("mahalanobis", "neighbours")


def test_a_constant_vector_is_no_error():
    constant = Pooled(np.ones((8, 3), np.float32), np.arange(8) % 2)
    values = Domain().fit("mahalanobis", constant, constant)
    assert all(np.isfinite(value).all() for value in values.values())
