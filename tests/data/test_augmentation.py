# SPDX-License-Identifier: MIT
"""Augmentation: each one moves exactly what it says, goes by the generator alone, and refuses what it cannot do."""

import numpy as np
import pytest

from minidistill import (
    MLP,
    CrossEntropy,
    Dataset,
    LabelNoise,
    Mixup,
    RandomShift,
    SoftTarget,
    SoftTargets,
    distill,
    fit,
    spirals,
    with_label_noise,
)
from minidistill.data.augmentation import augmented


def random(seed=0):
    return np.random.default_rng(seed)


def images(count, height, width, dtype=np.float32):
    """Flat images, no two pixels of which are equal, and none zero."""
    return np.arange(1, 1 + count * height * width, dtype=dtype).reshape(count, height * width)


def moved(image, down, right):
    """The image moved by hand, pixel by pixel."""
    result = np.zeros_like(image)
    height, width = image.shape
    for i in range(height):
        for j in range(width):
            if 0 <= i + down < height and 0 <= j + right < width:
                result[i + down, j + right] = image[i, j]
    return result


def way(image, result):
    """(down, right) by which an image was moved, found from a pixel that is still there; that all moved alike."""
    (i, j), *_ = np.argwhere(result)
    (from_i,), (from_j,) = np.nonzero(image == result[i, j])
    down, right = int(i - from_i), int(j - from_j)
    np.testing.assert_array_equal(result, moved(image, down, right))
    return down, right


# ---------------------------------------------------------------------------------------------- jitter


@pytest.mark.parametrize(("pixels", "shape"), [(1, (3, 3)), (2, (4, 7)), (3, (8, 5))])
def test_jitter_moves_each_image_as_a_whole_and_lets_zeros_in(pixels, shape):
    x = images(200, *shape)
    result, _ = RandomShift(pixels, shape)(x, None, random())
    ways = [way(a, b) for a, b in zip(x.reshape(-1, *shape), result.reshape(-1, *shape), strict=True)]
    span = range(-pixels, pixels + 1)
    assert set(ways) == {(down, right) for down in span for right in span}


def test_all_moves_are_alike_likely():
    x = np.tile(images(1, 5, 5), (50_000, 1))
    result, _ = RandomShift(2)(x, None, random())
    kinds, counts = np.unique(result, axis=0, return_counts=True)
    assert len(kinds) == 25
    assert abs(counts / 2000 - 1).max() < 0.1  # a count's standard deviation is 44


def test_images_are_square_unless_a_shape_is_given():
    x = images(9, 4, 4)
    np.testing.assert_array_equal(RandomShift(1)(x, None, random())[0], RandomShift(1, (4, 4))(x, None, random())[0])
    assert (RandomShift(1, (2, 8))(x, None, random())[0] != RandomShift(1)(x, None, random())[0]).any()


@pytest.mark.parametrize(
    ("jitter", "columns", "message"),
    [
        (RandomShift(2), 65, r"RandomShift needs square images, or say shape=\(height, width\): x has 65 columns"),
        (RandomShift(2, (8, 9)), 64, "RandomShift needs 8 x 9 images: x has 64 columns"),
        (RandomShift(4), 16, "pixels must be below both sides of 4 x 4 images, got 4"),
        (RandomShift(2, (2, 8)), 16, "pixels must be below both sides of 2 x 8 images, got 2"),
    ],
)
def test_images_that_do_not_fit_are_refused(jitter, columns, message):
    with pytest.raises(ValueError, match=message):
        jitter(np.zeros((3, columns)), None, random())


# ---------------------------------------------------------------------------------------------- label noise


def test_label_noise_gives_other_classes_all_alike_likely_in_their_share():
    y = np.arange(40_000) % 4
    x, noisy = LabelNoise(0.3, 4)(y[:, None], y, random())
    assert (x[:, 0] == y).all()
    replaced = noisy != y
    assert abs(replaced.mean() - 0.3) < 0.01  # standard deviation 0.0023
    for label in range(4):
        to = np.bincount(noisy[replaced & (y == label)], minlength=4) / (y == label).sum()
        np.testing.assert_allclose(np.delete(to, label), 0.1, atol=0.015)
        assert to[label] == 0


@pytest.mark.parametrize("share", [0, 1])
def test_the_shares_0_and_1_are_exact(share):
    y = np.arange(300) % 3
    assert ((LabelNoise(share, 3)(y, y, random())[1] != y) == share).all()
    assert ((with_label_noise(Dataset(y[:, None], y), share).y != y) == share).all()


def test_a_data_set_with_label_noise_has_the_same_rows_and_goes_by_the_seed():
    data = spirals(300)
    noisy, again, other = (with_label_noise(data, 0.4, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(noisy.x, data.x)
    np.testing.assert_array_equal(noisy.y, again.y)
    assert (noisy.y != other.y).any()
    assert 0.3 < (noisy.y != data.y).mean() < 0.5  # standard deviation 0.028
    assert noisy.classes == data.classes


def test_label_noise_of_a_data_set_stays_the_same_in_every_epoch():
    data, seen = with_label_noise(Dataset(np.eye(9, dtype=np.float32), np.arange(9)), 0.5), []

    def loss(s, t, y, ops):
        seen.append(np.sort(y))
        return CrossEntropy()(s, t, y, ops)

    fit(MLP((9, 9)), data, loss, epochs=3, batch_size=9)
    assert all((labels == np.sort(data.y)).all() for labels in seen)


def test_classes_that_the_data_lacks_may_be_drawn():
    data = Dataset(np.zeros((200, 1)), np.zeros(200, int))
    assert set(with_label_noise(data, 1, classes=4).y.tolist()) == {1, 2, 3}


# ---------------------------------------------------------------------------------------------- mixup


def test_mixup_mixes_rows_and_labels_in_the_same_proportion():
    x, y = np.eye(6, dtype=np.float64), np.arange(6) % 3
    mixed, labels = Mixup(3, alpha=1.0)(x, y, random())
    lam = random().beta(1.0, 1.0)  # the first draw
    for i in range(6):
        others = np.flatnonzero(np.delete(mixed[i], i))
        j = i if len(others) == 0 else others[0] + (others[0] >= i)
        np.testing.assert_allclose(mixed[i], lam * x[i] + (1 - lam) * x[j], rtol=1e-12)
        np.testing.assert_allclose(labels[i], lam * np.eye(3)[y[i]] + (1 - lam) * np.eye(3)[y[j]], rtol=1e-12)
    np.testing.assert_allclose(mixed.sum(axis=0), 1, rtol=1e-12)  # each row is laid over one other


def test_mixup_mixes_what_is_already_mixed_and_rows_without_labels():
    x, rows = np.eye(4), np.full((4, 2), 0.5)
    np.testing.assert_allclose(Mixup(2)(x, rows, random())[1], rows)
    mixed, labels = Mixup(2)(x, None, random())
    assert labels is None
    np.testing.assert_array_equal(mixed, Mixup(2)(x, rows, random())[0])


@pytest.mark.parametrize("backend", ["numpy", pytest.param("cpu", marks=pytest.mark.compiles)])
def test_a_network_learns_from_mixed_rows(backend):
    data = spirals(300, noise=0.1, classes=2)
    teacher = MLP((2, 32, 2), backend=backend)
    fit(teacher, data, epochs=40, augment=Mixup(2))
    student = MLP((2, 16, 2), backend=backend)
    history = distill(teacher, student, data, epochs=40, augment=Mixup(2))
    assert (student.predict(data.x) == data.y).mean() > 0.6
    assert history.epochs[-1].loss < history.epochs[0].loss


# ---------------------------------------------------------------------------------------------- all of them

EACH = [RandomShift(1), LabelNoise(0.5, 3), Mixup(3)]


@pytest.mark.parametrize("augment", EACH, ids=repr)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_dtype_stays_what_came_is_left_alone_and_the_generator_decides(augment, dtype):
    x, y = images(20, 3, 3, dtype), np.arange(20) % 3
    first, again, other = (augment(x, y, random(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(x, images(20, 3, 3, dtype))
    np.testing.assert_array_equal(y, np.arange(20) % 3)
    assert first[0].dtype == dtype and first[0].shape == x.shape
    assert first[1].dtype in (np.int64, dtype)
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert any((a != b).any() for a, b in zip(first, other, strict=True))


def epochs_of(augment, seed=0):
    """What the network was shown in two epochs, (x, y) each, in the order of the rows."""
    data, seen = Dataset(images(20, 3, 3) / 100, np.arange(20) % 3), []

    def note(x, y, generator):
        seen.append((x, y))
        return x, y

    network = MLP((9, 3))
    fit(network, data, epochs=2, batch_size=20, augment=[augment, note], seed=seed)
    return seen, network.parameters


@pytest.mark.parametrize("augment", EACH, ids=repr)
def test_the_seed_and_the_epoch_decide(augment):
    (first, second), parameters = epochs_of(augment)
    (again, _), same = epochs_of(augment)
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(parameters, same)
    assert any((np.sort(a, axis=0) != np.sort(b, axis=0)).any() for a, b in zip(first, second, strict=True))
    assert (epochs_of(augment, seed=1)[1] != parameters).any()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: RandomShift(0), ValueError, "pixels must be at least 1, got 0"),
        (lambda: RandomShift(1.5), TypeError, "pixels must be a whole number, got 1.5"),
        (lambda: RandomShift(1, 28), ValueError, r"shape must be \(height, width\), got 28"),
        (lambda: RandomShift(1, (28, 0)), ValueError, "each side in shape must be at least 1, got 0"),
        (lambda: LabelNoise(1.5, 3), ValueError, r"share must be in \[0, 1\], got 1.5"),
        (lambda: LabelNoise(0.5, 1), ValueError, "classes must be at least 2, got 1"),
        (lambda: LabelNoise(0.5, 3)(np.eye(2), None, random()), ValueError, "LabelNoise needs labels, and the data"),
        (lambda: LabelNoise(0.5, 3)(np.eye(2), np.eye(2), random()), ValueError, "y for LabelNoise must have 1 dim"),
        (lambda: LabelNoise(0.5, 2)(np.eye(3), np.arange(3), random()), ValueError, "y for LabelNoise must be 0 to 1"),
        (lambda: Mixup(1), ValueError, "classes must be at least 2, got 1"),
        (lambda: Mixup(3, 0), ValueError, r"alpha must be in \(0, inf\), got 0"),
        (lambda: Mixup(2)(np.eye(3), np.arange(3), random()), ValueError, "y for Mixup must be 0 to 1"),
        (lambda: with_label_noise(np.eye(2), 0.5), TypeError, "data must be a Dataset, got ndarray"),
        (lambda: with_label_noise(Dataset(np.eye(2)), 0.5), ValueError, "this dataset has no labels"),
        (lambda: with_label_noise(Dataset(np.eye(2)), 0.5, classes=2), ValueError, "this dataset has no labels"),
        (lambda: with_label_noise(Dataset(np.eye(2), [0, 0]), 0.5), ValueError, "classes must be at least 2, got 1"),
        (lambda: with_label_noise(Dataset(np.eye(2), [0, 2]), 0.5, classes=2), ValueError, "data.y must be 0 to 1"),
        (lambda: with_label_noise(spirals(9), -1), ValueError, r"share must be in \[0, 1\], got -1"),
        (lambda: with_label_noise(spirals(9), 0.5, seed=-1), ValueError, "seed must be at least 0, got -1"),
    ],
)  # fmt: skip
def test_bad_arguments_are_refused_by_name(make, error, message):
    with pytest.raises(error, match=message):
        make()


# ---------------------------------------------------------------------------------------------- one after the other


def test_several_are_applied_in_order():
    double, add = lambda x, y, g: (2 * x, y), lambda x, y, g: (x + 1, y)
    x = np.ones((2, 3), np.float32)
    assert (augmented([double, add], x, None, random())[0] == 3).all()
    assert (augmented([add, double], x, None, random())[0] == 4).all()
    assert augmented([], x, None, random())[0] is x


def test_a_list_of_one_trains_as_it_does_alone_and_an_empty_one_as_none():
    def parameters(augment):
        network = MLP((9, 3))
        fit(network, Dataset(images(20, 3, 3) / 100, np.arange(20) % 3), epochs=2, batch_size=8, augment=augment)
        return network.parameters

    np.testing.assert_array_equal(parameters([RandomShift(1)]), parameters(RandomShift(1)))
    np.testing.assert_array_equal(parameters([]), parameters(None))
    assert (parameters(RandomShift(1)) != parameters(None)).any()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda x, y: x, r"must return \(x, y\), got ndarray"),
        (lambda x, y: None, r"must return \(x, y\), got NoneType"),
        (lambda x, y: (x[:, :2], y), r"must return x as it came, float32 \(4, 9\), got float32 \(4, 2\)"),
        (lambda x, y: (x[:2], y[:2]), r"must return x as it came, float32 \(4, 9\), got float32 \(2, 9\)"),
        (lambda x, y: (x.astype(float), y), r"must return x as it came, float32 \(4, 9\), got float64 \(4, 9\)"),
        (lambda x, y: (x.tolist(), y), r"must return x as it came, float32 \(4, 9\), got list"),
        (lambda x, y: (x, y[:3]), "must return labels of all 4 rows, got 3"),
        (lambda x, y: (x, np.full((4, 3), 0.3)), "must be probabilities: rows of numbers from 0 that sum to 1"),
        (lambda x, y: (x * np.float32(np.nan), y), "must be finite, got nan at row 0, column 0"),
    ],
)
def test_what_is_no_batch_of_the_same_rows_is_refused_by_name_and_teaches_nothing(wrong, message):
    def spoil(x, y, generator):
        return wrong(x, y)

    network = MLP((9, 3))
    data = Dataset(images(4, 3, 3), np.arange(4) % 3)
    with pytest.raises(ValueError, match=rf"augment \(spoil\) {message}"):
        fit(network, data, epochs=1, batch_size=4, augment=[RandomShift(1), spoil])
    np.testing.assert_array_equal(network.parameters, MLP((9, 3)).parameters)


@pytest.mark.parametrize("backend", ["numpy", pytest.param("cpu", marks=pytest.mark.compiles)])
def test_fractional_labels_are_refused_and_whole_floats_are_labels(backend):
    data = Dataset(images(4, 3, 3) / 100, np.arange(4) % 3)
    options = {"epochs": 1, "batch_size": 4}
    network, plain = MLP((9, 3), backend=backend), MLP((9, 3), backend=backend)
    with pytest.raises(TypeError, match=r"the labels after augment .* must be whole numbers from 0, got 2\.5"):
        fit(network, data, augment=lambda x, y, generator: (x, y + 0.5), **options)
    fit(network, data, augment=lambda x, y, generator: (x, y.astype(np.float32)), **options)
    fit(plain, data, augment=lambda x, y, generator: (x, y), **options)
    np.testing.assert_array_equal(network.parameters, plain.parameters)


@pytest.mark.parametrize("augment", [3, [RandomShift(1), "jitter"], "jitter"])
def test_what_is_no_augmentation_is_refused(augment):
    data = Dataset(images(4, 3, 3), np.arange(4) % 3)
    for train in (fit, lambda student, data, **options: distill(MLP((9, 3), seed=1), student, data, **options)):
        with pytest.raises(TypeError, match=r"augment must be a function of \(x, y, generator\), or a list of them"):
            train(MLP((9, 3)), data, batch_size=4, augment=augment)


# ---------------------------------------------------------------------------------------------- teachers


def test_a_teacher_is_asked_about_the_moved_images():
    data, asked, given = Dataset(images(20, 3, 3) / 100, np.arange(20) % 3), [], []
    teacher = MLP((9, 3), seed=1)

    def ask(x):
        asked.append(x)
        return teacher.logits(x)

    def loss(s, t, y, ops):
        given.append(t)
        return SoftTarget()(s, t, y, ops)

    distill(ask, MLP((9, 3)), data, loss, epochs=2, batch_size=20, augment=RandomShift(1))
    for epoch, (x, t) in enumerate(zip(asked, given, strict=True)):
        generator = random((0, epoch))
        order = generator.permutation(20)
        np.testing.assert_array_equal(x, RandomShift(1)(data.x[order], None, generator)[0])
        np.testing.assert_array_equal(t, teacher.logits(x))
    assert len(asked) == 2


@pytest.mark.parametrize("augment", EACH, ids=repr)
def test_kept_answers_are_refused_for_they_answer_other_rows(augment):
    data, logits = Dataset(images(20, 3, 3), np.arange(20) % 3), np.zeros((20, 3), np.float32)
    for kept in (logits, SoftTargets.of(logits, data)):
        with pytest.raises(ValueError, match="the teacher must be one that can be asked again, got kept logits"):
            distill(kept, MLP((9, 3)), data, batch_size=20, augment=augment)
    with pytest.raises(ValueError, match="targets must be a function where augment changes the rows, got kept ones"):
        fit(MLP((9, 3)), data, SoftTarget(), targets=logits, batch_size=20, augment=augment)
