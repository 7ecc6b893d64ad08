# SPDX-License-Identifier: MIT
"""Integer networks are what their definition says, and close to the float ones; learning with rounding makes one."""

import pickle

import numpy as np
import pytest

from minidistill import MLP, SGD, CrossEntropy, Dataset, SoftTarget, compare, digits, distill, fit
from minidistill.deployment.quantization import (
    LARGEST,
    SHRINKS,
    TOP,
    Grid,
    QuantizationAwareMLP,
    QuantizedMLP,
    accumulated,
    activation_table,
    calibrate,
    fake_quantize_backward,
    fake_quantize_forward,
    pack_nibbles,
    quantize,
    range_of,
    requantized,
    unit_scales,
    unpack_nibbles,
    weight_codes,
)
from minidistill.support.files import read_arrays, write_npz
from minidistill.training.evaluation import class_probabilities

RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((90, 6)).astype(np.float32)
DATA = Dataset(X, RANDOM.integers(3, size=90))
ACTIVATIONS = ("relu", "tanh", "gelu")


def network(sizes=(6, 8, 5, 3), **options):
    """One whose biases are not zero, or mistakes in them would not show."""
    made = MLP(sizes, **options)
    made.parameters += 0.1 * np.random.default_rng(1).standard_normal(made.num_parameters).astype(made.dtype)
    return made


@pytest.fixture(scope="module")
def trained():
    """(a student of the digits, training, test)"""
    training, test = digits()
    student = MLP((64, 32, 10))
    fit(student, training, epochs=15)
    return student, training, test


# ---------------------------------------------------------------------------------------------- codes


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-1, 1), (-0.3, 2), (-5, -1), (2, 3), (-1e-3, 1e6), (0, 0)])
def test_a_grid_has_zero_on_it_and_is_within_half_a_step_of_all_in_its_range(low, high):
    """[Q-1]"""
    grid = Grid.over(low, high)
    assert 0 <= grid.zero <= LARGEST
    assert grid.values(np.array([grid.zero]))[0] == 0
    x = np.linspace(min(low, 0), max(high, 0), 1001)
    codes = requantized(x / grid.scale, grid.zero)
    steps = np.abs(grid.scale * (codes.astype(float) - grid.zero) - x) / grid.scale
    inside = (x >= grid.scale * grid.limits[0]) & (x <= grid.scale * grid.limits[1])
    assert steps[inside].max() < 0.5 + 1e-6
    assert steps.max() < 1.0  # the zero point is rounded too: one end may lie half a step further out


def test_bytes_of_an_image_are_their_own_codes():
    pixels = (np.arange(256) / 255).astype(np.float32)
    grid = Grid.over(0.0, 1.0)
    np.testing.assert_array_equal(requantized(pixels * np.float32(1 / grid.scale), grid.zero), np.arange(256))


def test_rounding_puts_numbers_on_the_grid_and_clips_beyond_it():
    """[Q-2]"""
    x = np.array([-9.0, -0.74, -0.26, 0.0, 0.25, 0.75, 1.2, 9.0])
    y, inside = fake_quantize_forward(x, 0.5, -2, 3)
    np.testing.assert_array_equal(y, [-1.0, -0.5, -0.5, 0.0, 0.0, 1.0, 1.0, 1.5])
    np.testing.assert_array_equal(inside, [False, True, True, True, True, True, True, False])
    again, _ = fake_quantize_forward(y, 0.5, -2, 3)
    np.testing.assert_array_equal(again, y)


def test_the_straight_through_gradient_is_that_of_the_function_with_what_rounding_added_held_fast():
    """[Q-3]"""
    x = RANDOM.standard_normal(200) * 3
    y, inside = fake_quantize_forward(x, 0.1, -17, 12)
    added = np.where(inside, y - x, 0)

    def surrogate(x):
        return np.clip(x + added, -1.7, 1.2)

    step, dy = 1e-6, RANDOM.standard_normal(200)
    slope = (surrogate(x + step) - surrogate(x - step)) / (2 * step)
    away_from_the_ends = np.abs(np.abs(y) - np.where(y > 0, 1.2, 1.7)) > 0.05
    np.testing.assert_allclose((dy * slope)[away_from_the_ends], fake_quantize_backward(dy, inside)[away_from_the_ends],
                               rtol=1e-6, atol=1e-9)  # fmt: skip


# ---------------------------------------------------------------------------------------------- weights


@pytest.mark.parametrize("bits", TOP)
def test_each_unit_has_a_scale_of_its_own(bits):
    """[Q-4]: a unit a hundred times as large does not make the steps of the others coarse."""
    W = RANDOM.standard_normal((40, 7))
    W[:, 2] *= 100
    found = weight_codes(W, bits)
    assert found.codes.dtype == np.int8 and found.units.dtype == np.uint8
    assert np.abs(found.codes).max() == TOP[bits]
    steps = found.scale * found.units
    error = np.abs(found.codes * steps - W)
    assert (error[found.inside] <= 0.5001 * np.broadcast_to(steps, W.shape)[found.inside]).all()
    assert found.units[2] == LARGEST
    wanted = unit_scales(W, TOP[bits])
    assert (steps >= wanted * (1 - 1e-12)).all()
    assert (steps <= wanted + found.scale).all()
    if bits == 8:
        assert found.inside.all()


def test_weights_of_4_bits_are_clipped_where_that_makes_the_error_less():
    """[Q-5], against looking for it in small steps."""
    W = RANDOM.standard_t(3, (300, 6))
    scales = unit_scales(W, 7)

    def error(scales):
        return np.square(fake_quantize_forward(W, scales, -7, 7)[0] - W).sum(axis=0)

    full = np.abs(W).max(axis=0) / 7
    assert (error(scales) < 0.9 * error(full)).all()
    best = np.min([error(full * shrink) for shrink in np.linspace(0.3, 1, 400)], axis=0)
    assert (error(scales) <= 1.03 * best).all()


@pytest.mark.parametrize("rows", [1, 2, 7, 8])
def test_two_codes_of_4_bits_share_a_byte(rows):
    """[Q-6]"""
    codes = RANDOM.integers(-8, 8, (rows, 5)).astype(np.int8)
    packed = pack_nibbles(codes)
    assert packed.dtype == np.uint8 and packed.shape == ((rows + 1) // 2, 5)
    np.testing.assert_array_equal(unpack_nibbles(packed, rows), codes)


def test_a_layer_of_zeros_and_a_unit_of_zeros_have_codes():
    assert not weight_codes(np.zeros((4, 3)), 8).codes.any()
    W = RANDOM.standard_normal((4, 3))
    W[:, 1] = 0
    assert not weight_codes(W, 4).codes[:, 1].any()


# ---------------------------------------------------------------------------------------------- ranges


def test_the_ranges_of_the_three_methods():
    values = np.append(RANDOM.standard_normal(9999), 1000.0)
    assert range_of(values, "minmax", 99.0) == (values.min(), 1000.0)
    assert range_of(values, "percentile", 99.0) == tuple(np.percentile(values, [1, 99]))


def test_the_mean_square_error_weighs_clipping_against_rounding():
    """[Q-7]"""
    values = RANDOM.standard_t(3, 5000)

    def error(low, high):
        grid = Grid.over(low, high)
        return np.square(fake_quantize_forward(values, grid.scale, *grid.limits)[0] - values).mean()

    low, high = range_of(values, "mse", 99.0)
    assert values.min() <= low < 0 < high <= values.max()
    assert error(low, high) <= error(values.min(), values.max())
    assert error(low, high) == min(error(values.min() * s, values.max() * s) for s in SHRINKS)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_calibration_looks_at_inputs_at_activations_and_at_what_goes_into_those(activation):
    net = network(activation=activation)
    grids = calibrate(net, X, "minmax")
    hidden = net.outputs(X).hidden
    assert grids.inputs == Grid.over(float(X.min()), float(X.max()))
    assert grids.hidden == [Grid.over(float(h.min()), float(h.max())) for h in hidden]
    if activation == "relu":
        assert grids.before == [None, None]
        assert [grid.zero for grid in grids.hidden] == [0, 0]
    else:
        z = hidden[0] @ net.weights[1] + net.biases[1]
        assert grids.before[1] == Grid.over(float(z.min()), float(z.max()))


# ---------------------------------------------------------------------------------------------- integer networks


def test_products_are_exact_at_the_outermost_codes_of_the_widest_layer():
    """[Q-8], against int64."""
    q, codes = np.full((2, 1 << 14), 255, np.uint8), np.full((1 << 14, 3), -127, np.int8)
    codes[:, 1] = 127
    bias = np.array([-(1 << 30), 1 << 30, 5], np.int32)
    exact = q.astype(np.int64) @ codes + bias
    found = accumulated(q, codes, bias)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, exact)


def test_halves_are_rounded_to_the_even_code_and_what_is_beyond_is_clipped():
    """[Q-9]"""
    v = np.array([-1e30, -3.5, -2.5, -0.5, 0.5, 1.5, 2.5, 3.4999, 254.5, 255.0, 1e30], np.float32)
    np.testing.assert_array_equal(requantized(v, 0), [0, 0, 0, 0, 0, 2, 2, 3, 254, 255, 255])
    np.testing.assert_array_equal(requantized(v, 3), [0, 0, 1, 3, 3, 5, 5, 6, 255, 255, 255])


def by_hand(quantized, row):
    """The definition for one row in Python's whole numbers, with nothing of NumPy but the roundings of float32."""
    f32 = np.float32

    def code(v, zero):
        return round(min(max(float(v), -zero), 255 - zero)) + zero  # round() takes halves to the even number

    zero = quantized.grids[0].zero
    q = [code(f32(x) * f32(1 / quantized.grids[0].scale), zero) for x in row]
    for layer in quantized.layers:
        outputs = []
        for o in range(layer.codes.shape[1]):
            acc = int(layer.bias[o]) + sum(a * int(w) for a, w in zip(q, layer.codes[:, o], strict=True))
            outputs.append(f32(acc) * (layer.scale * f32(layer.units[o])))
        if layer is quantized.layers[-1]:
            return outputs
        q = [code(v, layer.zero) for v in outputs]
        q = q if layer.table is None else [int(layer.table[u]) for u in q]
    return None


@pytest.mark.parametrize("bits", TOP)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_network_is_its_definition_to_the_last_bit(activation, bits):
    quantized = quantize(network(activation=activation), X, bits)
    np.testing.assert_array_equal(quantized.logits(3 * X[:9]), [by_hand(quantized, row) for row in 3 * X[:9]])


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_8_bits_say_nearly_what_the_float_network_says(activation):
    """[Q-10]: zero points and biases are in the sums, or this would be far off."""
    net = network(activation=activation)
    for quantized in (quantize(net, X, method="minmax"), quantize(net)):
        found, exact = quantized.outputs(X), net.outputs(X)
        assert np.abs(found.logits - exact.logits).max() < 0.04 * np.abs(exact.logits).max()
        for h, true in zip(found.hidden, exact.hidden, strict=True):
            assert np.abs(h - true).max() < 0.04 * np.abs(true).max()
        np.testing.assert_array_equal(found.logits, quantized.logits(X))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_measured_row_by_row_a_row_does_not_hang_on_others(activation):
    """[Q-11]"""
    quantized = quantize(network(activation=activation))
    np.testing.assert_array_equal(quantized.logits(X)[7], quantized.logits(X[7:8])[0])
    assert np.isfinite(quantized.logits(np.zeros((1, 6)))).all()


def test_measured_row_by_row_no_row_is_too_large():
    net = network()
    large = X * np.float32(1000) ** RANDOM.uniform(0, 1, (90, 1)).astype(np.float32)
    errors = np.abs(quantize(net).logits(large) - net.logits(large)).max(axis=1)
    assert (errors < 0.02 * np.abs(large).max(axis=1)).all()


def test_a_table_is_the_activation_on_the_grid():
    """[Q-12]"""
    before, after = Grid.over(-4.0, 6.0), Grid.over(-0.2, 6.0)
    table = activation_table("gelu", before, after)
    z = before.values(np.arange(256))
    exact, _ = network().ops.gelu_forward(z.astype(np.float64))
    assert table.shape == (256,) and table.dtype == np.uint8
    np.testing.assert_array_less(np.abs(after.values(table) - exact), 0.51 * after.scale)


def test_a_bias_far_above_the_weights_fits_in_32_bits():
    net = network()
    net.weights[1][:] *= 1e-12
    net.biases[1][:] = 5
    quantized = quantize(net, X)
    assert np.abs(quantized.logits(X) - net.logits(X)).max() < 0.02 * np.abs(net.logits(X)).max()


def test_layers_that_are_dead_or_without_hidden_ones_are_quantised():
    dead = network()
    dead.parameters[:] = 0
    np.testing.assert_array_equal(quantize(dead, X).logits(X), 0)
    flat = network((6, 3))
    assert np.abs(quantize(flat, X).logits(X) - flat.logits(X)).max() < 0.05


def test_the_float_network_stays_as_it_is():
    net = network()
    before = net.parameters.copy()
    quantize(net, X, 4)
    np.testing.assert_array_equal(net.parameters, before)


def test_float64_networks_are_quantised_like_float32_ones():
    single, double = network(), network(dtype=np.float64)
    double.parameters[:] = single.parameters
    found = quantize(double, X, method="minmax").logits(X.astype(np.float64))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, quantize(single, X, method="minmax").logits(X), rtol=1e-3, atol=0.05)


def test_sizes_and_costs_are_those_of_what_is_stored():
    net = network()
    weights, outputs = 6 * 8 + 8 * 5 + 5 * 3, 8 + 5 + 3
    quantized = quantize(net, X)
    assert quantized.nbytes == weights + 5 * outputs + 4 * 3 + 4 + 3
    assert quantize(net, X, 4).nbytes == (3 * 8 + 4 * 5 + 3 * 3) + 5 * outputs + 4 * 3 + 4 + 3
    assert quantize(net).nbytes == weights + 5 * outputs + 4 * 3
    assert quantize(network(activation="gelu"), X).nbytes == quantized.nbytes + 2 * 256
    assert (quantized.num_parameters, quantized.multiply_adds) == (net.num_parameters, net.multiply_adds)


def test_students_of_the_digits_take_at_most_27_percent_of_the_bytes_and_keep_their_accuracy(trained):
    student, training, test = trained
    accuracy = (student.predict(test.x) == test.y).mean()
    for method in ("minmax", "mse"):
        quantized = quantize(student, training.x[:500], method=method)
        assert quantized.nbytes <= 0.27 * student.nbytes
        assert (quantized.predict(test.x) == test.y).mean() >= accuracy - 0.003


def raw_and_standardized():
    """One network for standardized rows and the same one for raw rows, with both rows, whose columns differ widely."""
    random = np.random.default_rng(0)
    y = random.integers(0, 4, 400)
    raw = Dataset(((y[:, None] + 0.3 * random.standard_normal((400, 4))) * [1, 30, 5000, 0.1]).astype(np.float32), y)
    rows = raw.standardise()
    student = MLP((4, 16, 4))
    fit(student, rows, epochs=20)
    for_raw = student.copy()
    for_raw.fold_standardization(*raw.column_statistics())
    return student, rows, for_raw, raw


ONE_STEP = "its inputs differ too much in scale for one step. Quantize a network of standardized rows, before fold_"


@pytest.mark.parametrize("calibrated", [True, False], ids=["calibrated", "row by row"])
def test_a_network_of_raw_columns_is_named_and_its_remedy_keeps_the_accuracy(calibrated):
    student, rows, for_raw, raw = raw_and_standardized()
    assert (for_raw.predict(raw.x) == raw.y).mean() > 0.95
    with pytest.warns(UserWarning, match=ONE_STEP) as found:
        lost = quantize(for_raw, raw.x if calibrated else None)
    assert [one.filename for one in found] == [__file__]
    assert (lost.predict(raw.x) == raw.y).mean() < 0.7
    kept = quantize(student, rows.x if calibrated else None)
    assert (kept.predict(rows.x) == rows.y).mean() > 0.95


def test_learning_with_rounding_on_raw_columns_is_named_too():
    _, _, for_raw, raw = raw_and_standardized()
    with pytest.warns(UserWarning, match=ONE_STEP):
        QuantizationAwareMLP(for_raw, raw.x)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("method", ["minmax", "percentile", "mse"])
def test_sparse_pixels_and_one_hot_columns_are_not_named(trained, bits, method):
    student, training, _ = trained
    quantize(student, training.x, bits, method)  # a warning would be an error
    broken = training.x.copy()
    broken[0] *= 8
    quantize(student, broken, bits, method, percentile=99.9)
    columns = np.eye(105, dtype=np.float32)[RANDOM.integers(0, [5, 100], (500, 2)) + [0, 5]].sum(axis=1)
    quantize(network((105, 8, 3)), columns, bits, method)


def test_compare_takes_it_and_it_may_teach(trained):
    student, training, test = trained
    quantized = quantize(student, training.x[:500])
    report = compare(student, {"8 bits": quantized}, test)
    assert report["8 bits"].bytes == quantized.nbytes
    assert report["8 bits"].agreement > 0.99
    few = training.take(200)
    pupil = MLP((64, 10))
    distill(quantized, pupil, few, epochs=5)
    assert class_probabilities(quantized, test.x[:3]).shape == (3, 10)
    np.testing.assert_array_equal(quantized.predict(test.x), quantized.predict_proba(test.x, 2.0).argmax(axis=1))


# ---------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize("calibration", [X, None])
@pytest.mark.parametrize("bits", TOP)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_what_was_saved_predicts_the_same_bits(tmp_path, activation, bits, calibration):
    quantized = quantize(network((6, 7, 5, 3), activation=activation), calibration, bits)
    quantized.save(tmp_path / "q.npz")
    loaded = QuantizedMLP.load(tmp_path / "q.npz")
    np.testing.assert_array_equal(loaded.logits(X), quantized.logits(X))
    assert repr(loaded) == repr(quantized)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(quantized)).logits(X), quantized.logits(X))


DAMAGE = {
    "sizes": lambda a: a.update(sizes=np.array([6, 8, 5, 4])),
    "no layer": lambda a: a.update(sizes=np.array([6])),
    "too wide": lambda a: a.update(sizes=np.array([6, 8, 1 << 20, 3])),
    "activation": lambda a: a.update(activation=np.array("swish")),
    "bits": lambda a: a.update(bits=np.array(3)),
    "codes": lambda a: a.update(codes=a["codes"][:-1]),
    "dtype": lambda a: a.update(biases=a["biases"].astype(np.float64)),
    "units": lambda a: a["units"].__setitem__(0, 0),
    "scales": lambda a: a["scales"].__setitem__(0, np.nan),
    "negative scale": lambda a: a["scales"].__setitem__(0, -1),
    "zero point": lambda a: a["grids"].__setitem__((0, 1), 300),
    "half a zero point": lambda a: a["grids"].__setitem__((0, 1), 0.5),
    "bias": lambda a: a["biases"].__setitem__(0, (1 << 31) - 1),
    "table": lambda a: a.update(tables=a["tables"][:1]),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_file_is_refused(tmp_path, name):
    quantize(network(activation="tanh"), X).save(tmp_path / "q.npz")
    arrays = read_arrays(tmp_path / "q.npz")
    arrays.pop("kind")
    DAMAGE[name](arrays)
    write_npz(tmp_path / "bad.npz", "quantized-network", arrays)
    with pytest.raises(ValueError, match="is not a quantized-network of minidistill, or is damaged"):
        QuantizedMLP.load(tmp_path / "bad.npz")


def test_files_that_are_something_else_are_refused(tmp_path):
    network().save(tmp_path / "float.npz")
    with pytest.raises(ValueError, match="is not a quantized-network"):
        QuantizedMLP.load(tmp_path / "float.npz")
    quantize(network(), X).save(tmp_path / "q.npz")
    with pytest.raises(ValueError, match="is not a network of minidistill"):
        MLP.load(tmp_path / "q.npz")
    whole = (tmp_path / "q.npz").read_bytes()
    (tmp_path / "half.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="damaged"):
        QuantizedMLP.load(tmp_path / "half.npz")
    with pytest.raises(FileNotFoundError):
        QuantizedMLP.load(tmp_path / "none.npz")


# ---------------------------------------------------------------------------------------------- learning with it


@pytest.mark.parametrize("bits", TOP)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_what_learns_with_rounding_answers_as_the_integer_network(activation, bits):
    """Each code is the same, or where rounding could go either way its neighbour."""
    aware = QuantizationAwareMLP(network((6, 20, 15, 3), activation=activation, dtype=np.float64), X, bits)
    found, wanted = quantize(aware).outputs(X), aware.outputs(X)
    first, grid = found.hidden[0], aware.grids.hidden[0]
    steps = np.abs(first - wanted.hidden[0]) / grid.scale
    assert steps.max() < 1.01 if activation == "relu" else steps.max() < 2.01
    assert (steps > 0.01).mean() < 0.002
    assert np.abs(found.logits - wanted.logits).max() < 0.02 * np.abs(wanted.logits).max()


def held_fast(aware, x):
    """The aware network's logits as a function of its parameters, with what rounding adds and clips held as at x."""
    added, index = [], iter(())

    def frozen(y, before, inside):
        nonlocal index
        if recording:
            added.append((y - before, inside))
            return y
        offset, inside = next(index)
        return np.where(inside, before + offset, y)

    def logits():
        nonlocal index
        index = iter(added)
        grids, last = aware.grids, len(aware.weights) - 1
        a = frozen(*rounded(x, grids.inputs))
        for k, b in enumerate(aware.biases):
            if recording:
                W, rounded_b, inside = aware.rounded(k)
                held.append((W, W - aware.weights[k], inside, rounded_b - b))
            W, offset, inside, b_offset = held[k]
            a = a @ np.where(inside, aware.weights[k] + offset, W) + (b + b_offset)
            if k < last:
                if grids.before[k] is not None:
                    a = frozen(*rounded(a, grids.before[k]))
                a, _ = aware.activate(a)
                a = frozen(*rounded(a, grids.hidden[k]))
        return a

    def rounded(x, grid):
        y, inside = fake_quantize_forward(x, grid.scale, *grid.limits)
        return y, x, inside

    held, recording = [], True
    np.testing.assert_allclose(logits(), aware.forward(x)[0], rtol=1e-12, atol=1e-12)
    recording = False
    return logits


@pytest.mark.parametrize("bits", TOP)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_its_gradients_are_those_of_the_network_with_what_rounding_added_held_fast(activation, bits):
    """[Q-3] through a whole network: that is the lie, and all of it."""
    net = network((6, 9, 5, 3), activation=activation, dtype=np.float64)
    aware = QuantizationAwareMLP(net, X, bits, "percentile", 95.0)  # something is clipped
    x, y = X[:12].astype(np.float64), DATA.y[:12]
    logits = held_fast(aware, x)

    def loss():
        value, _ = aware.ops.cross_entropy_forward(logits(), y)
        return float(value)

    scores, cache = aware.forward(x)
    _, ds = CrossEntropy()(scores, None, y, aware.ops)
    aware.backward(ds, cache)
    gradients = aware.gradients.copy()
    slopes = np.zeros_like(gradients)
    for i in range(len(slopes)):
        kept = aware.parameters[i]
        values = []
        for step in (1e-6, -1e-6):
            aware.parameters[i] = kept + step
            values.append(loss())
        aware.parameters[i] = kept
        slopes[i] = (values[0] - values[1]) / 2e-6
    np.testing.assert_allclose(gradients, slopes, rtol=1e-5, atol=1e-8)


def test_learning_with_it_from_a_teacher_wins_back_what_4_bits_cost(trained):
    teacher, training, test = trained

    def accuracy(model):
        return (model.predict(test.x) == test.y).mean()

    student = MLP((64, 8, 10))
    fit(student, training, epochs=15)
    rounded = quantize(student, training.x[:500], 4)
    aware = QuantizationAwareMLP(student, training.x[:500], 4)
    distill(teacher, aware, training, SoftTarget(), epochs=8, optimizer=SGD(0.01))
    assert accuracy(quantize(aware)) > accuracy(rounded) + 0.005


def test_it_learns_from_labels_alone_and_the_same_seed_gives_the_same_bits():
    parameters = []
    for _ in range(2):
        aware = QuantizationAwareMLP(network(dropout=0.2), X)
        history = fit(aware, DATA, epochs=5)
        parameters.append(aware.parameters)
    assert history.epochs[-1].loss < history.epochs[0].loss
    np.testing.assert_array_equal(*parameters)


def test_a_run_that_was_cut_short_ends_with_the_same_bits(tmp_path):
    whole, half = (QuantizationAwareMLP(network(), X) for _ in range(2))
    fit(whole, DATA, epochs=4)

    def stop(_, history):
        if len(history.epochs) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(half, DATA, epochs=4, checkpoint=tmp_path / "c", callbacks=[stop])
    again = QuantizationAwareMLP(network(), X)
    fit(again, DATA, epochs=4, checkpoint=tmp_path / "c")
    np.testing.assert_array_equal(again.parameters, whole.parameters)


def test_copies_keep_the_ranges_and_the_network_it_came_from_stays():
    net = network(dropout=0.1)
    before = net.parameters.copy()
    aware = QuantizationAwareMLP(net, X, 4)
    fit(aware, DATA, epochs=1)
    np.testing.assert_array_equal(net.parameters, before)
    for twin in (aware.copy(), pickle.loads(pickle.dumps(aware))):
        assert type(twin) is QuantizationAwareMLP and (twin.bits, twin.grids) == (4, aware.grids)
        np.testing.assert_array_equal(twin.logits(X), aware.logits(X))
        assert twin.dropout == aware.dropout


def test_the_gradient_for_the_inputs_is_zero_where_they_are_clipped():
    aware = QuantizationAwareMLP(network(dtype=np.float64), X)
    x = np.vstack([X[:3], 100 * X[3:6]]).astype(np.float64)
    scores, cache = aware.forward(x)
    dx = aware.backward(np.ones_like(scores), cache, input_gradient=True)
    assert (dx[np.abs(x) > 10] == 0).all() and (dx[:3] != 0).any()


# ---------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: quantize(network(), X, 3), ValueError, "bits must be 8 or 4, got 3"),
        (lambda: quantize(network(), X, 8.0), TypeError, "bits must be a whole number"),
        (lambda: quantize(network(), X, 0), ValueError, "bits must be at least 1"),
        (lambda: quantize(network(), X[:1]), ValueError, "calibration must have rows that differ.* got 1 equal"),
        (lambda: quantize(network(), np.ones((9, 6))), ValueError, "calibration must have rows that differ.* 9 equal"),
        (lambda: quantize(network(), X[:, :5]), ValueError, "calibration must have 6 columns"),
        (lambda: quantize(network(), X * np.nan), ValueError, "calibration must be finite"),
        (lambda: quantize(network(), X, method="kl"), ValueError, "method must be one of 'minmax'"),
        (lambda: quantize(network(), X, percentile=50), ValueError, r"percentile must be in \(50, 100\], got 50"),
        (lambda: quantize(network(), X, percentile=100.1), ValueError, r"percentile must be in \(50, 100\]"),
        (lambda: quantize("network", X), TypeError, "network must be an MLP, got str"),
        (lambda: quantize(MLP((20000, 2)), None), ValueError, "at most 16,384 each"),
        (lambda: QuantizationAwareMLP(network(), None), ValueError, "calibration must be rows"),
        (lambda: QuantizationAwareMLP(network(), X, 16), ValueError, "bits must be 8 or 4"),
        (lambda: quantize(QuantizationAwareMLP(network(), X), X), ValueError, "of its own"),
        (lambda: quantize(QuantizationAwareMLP(network(), X), bits=4), ValueError, "8 bits of its own"),
        (lambda: quantize(network(), X).logits(X[:, :5]), ValueError, "x must have 6 columns"),
        (lambda: quantize(network(), X).logits(X * np.nan), ValueError, "x must be finite"),
        (lambda: quantize(network(), X).predict_proba(X, 0), ValueError, "temperature"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_with_one_error(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_network_that_is_not_finite_is_refused(value):
    net = network()
    net.parameters[3] = value
    for calibration in (X, None):
        with pytest.raises(ValueError, match=r"network\.parameters must be finite"):
            quantize(net, calibration)


def test_activations_that_overflow_are_refused():
    net = network()
    net.parameters *= 1e30
    with np.errstate(over="ignore", invalid="ignore"), pytest.raises(ValueError, match="an activation on calibration"):
        quantize(net, 1e10 * X)
