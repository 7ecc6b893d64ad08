# SPDX-License-Identifier: MIT
"""SoftTargets: logits of other rows or of another order are refused, also from a file."""

import numpy as np
import pytest
from distilled_students import taught_by

from minidistill import MLP, SGD, Dataset, SoftTarget, SoftTargets, digits, fit, spirals
from minidistill.distillation.soft_targets import soft_targets
from minidistill.support.files import write_npz

# ---------------------------------------------------------------------------------------------- whose rows they are


@pytest.fixture
def cache(teacher, data):
    return soft_targets(teacher, data, 3)


def test_a_cache_of_the_same_rows_in_another_order_is_refused(cache, data):
    reordered = data.subset(np.random.default_rng(0).permutation(len(data)))
    with pytest.raises(ValueError, match=r"do not belong to this data: from row \d+ on they are the same rows"):
        taught_by(cache, reordered)


def test_a_cache_with_two_rows_swapped_is_refused_and_the_place_named(cache, data):
    order = np.arange(len(data))
    order[[4, 40]] = order[[40, 4]]
    with pytest.raises(ValueError, match="from row 4 on they are the same rows in another order"):
        taught_by(cache, data.subset(order))


def test_a_cache_of_other_rows_is_refused(cache):
    with pytest.raises(ValueError, match="from row 0 on they are answers to other rows"):
        taught_by(cache, spirals(60, seed=4))


def test_a_cache_of_fewer_rows_is_refused(cache, data):
    with pytest.raises(ValueError, match="soft targets hold 60 rows, the data 59"):
        taught_by(cache, data.subset(np.arange(59)))


def test_a_cache_is_refused_where_one_number_of_x_has_changed(cache, data):
    x = data.x.copy()
    x[30, 1] = np.nextafter(x[30, 1], np.float32(9))
    with pytest.raises(ValueError, match="from row 30 on they are answers to other rows"):
        taught_by(cache, Dataset(x, data.y))


@pytest.mark.parametrize(("kept", "used"), [("float32", "float64"), ("float64", "float32"), ("float64", "float64")])
def test_a_cache_holds_for_the_same_rows_in_another_dtype(kept, used):
    x = np.random.default_rng(0).normal(size=(60, 2))
    x = x.astype(np.float32).astype(np.float64) if used == "float64" else x
    targets = SoftTargets.of(np.zeros((60, 3)), Dataset(x.astype(kept)))
    assert targets.logits_for(Dataset(x.astype(used))) is targets.logits


def test_a_cache_of_version_0_1_holds_for_its_float64_rows():
    """Its hashes of rows were those of the float64 values."""
    data = Dataset(np.random.default_rng(0).normal(size=(60, 2)))
    assert (data.exact_row_hashes != data.row_hashes).all()
    old = SoftTargets(np.zeros((60, 3)), data.exact_row_hashes)
    assert old.logits_for(data) is old.logits
    with pytest.raises(ValueError, match="from row 0 on they are the same rows in another order"):
        old.logits_for(data.subset(np.arange(60)[::-1]))


def test_a_cache_holds_whatever_the_labels(cache, data):
    assert cache.logits_for(Dataset(data.x)) is cache.logits


def weak_teachers(n, rows):
    """Logits of `n` barely trained networks, right on about a quarter of unseen digits, with those digits."""
    train, test = digits()
    for seed in range(n):
        network = MLP((64, 8, 10), seed=seed)
        fit(network, train.take(300, seed=seed), epochs=2, optimizer=SGD(0.02), seed=seed)
        data = test.take(rows, seed=seed)
        yield network.logits(data.x), data


def is_refused(logits, data):
    try:
        soft_targets(logits, data, logits.shape[1])
    except ValueError as error:
        return "do not seem to belong to these rows" in str(error)
    return False


def test_bare_logits_of_weak_teachers_are_taken_and_shuffled_ones_refused():
    random, taken, caught = np.random.default_rng(0), [], []
    for logits, data in weak_teachers(20, rows=60):
        taken.append(not is_refused(logits, data))
        caught += [is_refused(logits[random.permutation(60)], data) for _ in range(20)]
    assert np.mean(taken) >= 0.9  # a teacher that is right on a tenth knows as little as chance
    assert np.mean(caught) >= 0.98  # three standard deviations let 1 shuffle of 700 pass


def test_bare_logits_one_row_out_of_step_are_refused(teacher, data):
    with pytest.raises(ValueError, match=r"do not seem to belong to these rows: .* mean probability of 0\.\d+.*"
                                         r"If the order is right, pass SoftTargets\.of\(logits, data\)"):
        taught_by(np.roll(teacher.logits(data.x), 1, axis=0), data)


def test_the_caller_can_vouch_for_logits_that_look_shuffled(teacher, data):
    logits = np.roll(teacher.logits(data.x), 1, axis=0)
    assert np.isfinite(taught_by(SoftTargets.of(logits, data), data)).all()


def test_bare_logits_are_taken_on_trust_without_labels_and_below_thirty_rows(teacher, data):
    logits = teacher.logits(data.x)[::-1]
    taught_by(logits, Dataset(data.x), loss=SoftTarget(2.0, 1.0))
    few = data.subset(np.arange(29))
    taught_by(logits[:29], few)


@pytest.mark.parametrize(
    "case", ["one class alone", "a teacher that says the same of every row", "a teacher that knows nothing"]
)
def test_bare_logits_are_taken_where_no_order_can_be_wrong(case):
    for seed in range(20):
        random, x = np.random.default_rng(seed), np.arange(60.0)[:, None]
        labels = np.full(60, 2) if case == "one class alone" else random.integers(0, 5, 60)
        rows = {"one class alone": 60, "a teacher that says the same of every row": 1}.get(case, 0)
        logits = np.zeros((60, 5)) if rows == 0 else np.zeros((60, 5)) + random.standard_normal((rows, 5))
        assert not is_refused(logits, Dataset(x, labels))


# ---------------------------------------------------------------------------------------------- soft targets in files


def test_soft_targets_come_back_bit_for_bit(tmp_path, cache, data):
    cache.save(tmp_path / "targets.npz")
    again = SoftTargets.load(tmp_path / "targets.npz")
    np.testing.assert_array_equal(again.logits, cache.logits)
    assert again.logits.dtype == cache.logits.dtype
    np.testing.assert_array_equal(taught_by(again, data), taught_by(cache, data))


def test_soft_targets_from_a_file_still_know_their_rows(tmp_path, cache, data):
    cache.save(tmp_path / "targets.npz")
    with pytest.raises(ValueError, match="the same rows in another order"):
        taught_by(SoftTargets.load(tmp_path / "targets.npz"), data.subset(np.arange(60)[::-1]))


def test_a_file_of_another_kind_is_refused(tmp_path, teacher, cache):
    teacher.save(tmp_path / "teacher.npz")
    with pytest.raises(ValueError, match=r"teacher\.npz is not a.* soft.targets of minidistill: it holds activation"):
        SoftTargets.load(tmp_path / "teacher.npz")
    cache.save(tmp_path / "targets.npz")
    with pytest.raises(ValueError, match=r"targets\.npz is not a network of minidistill: it holds fingerprints"):
        MLP.load(tmp_path / "targets.npz")


def test_a_truncated_file_is_refused(tmp_path, cache):
    path = tmp_path / "targets.npz"
    cache.save(path)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ValueError, match=r"targets\.npz is not an \.npz file, or is damaged"):
        SoftTargets.load(path)


@pytest.mark.parametrize(
    "changed",
    [
        {"logits": np.zeros((59, 3))},
        {"logits": np.zeros((60, 2))},
        {"logits": np.full((60, 3), np.nan)},
        {"logits": np.zeros(60)},
        {"fingerprints": np.zeros(59, np.uint64)},
        {"fingerprints": np.zeros((60, 1), np.uint64)},
    ],
    ids=lambda changed: " ".join(f"{name} {value.shape}" for name, value in changed.items()),
)
def test_a_file_whose_parts_do_not_fit_teaches_nobody(tmp_path, cache, data, changed):
    parts = {"logits": cache.logits, "fingerprints": cache.row_hashes}
    write_npz(tmp_path / "targets.npz", "soft-targets", {**parts, **changed})
    with pytest.raises(ValueError, match=r"teacher logits|soft targets|targets must|is damaged"):
        taught_by(SoftTargets.load(tmp_path / "targets.npz"), data)
