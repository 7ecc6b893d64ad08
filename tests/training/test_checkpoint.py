# SPDX-License-Identifier: MIT
"""Checkpoints: a run that is killed, wherever that is, ends with the same bits; another run's file is refused."""

import itertools
import os
import random
import signal
import subprocess
import sys
import threading
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

import minidistill.support.files
from minidistill import (
    MLP,
    SGD,
    Adam,
    CosineSchedule,
    CrossEntropy,
    Dataset,
    RandomShift,
    SoftTarget,
    TopK,
    TopKTarget,
    distill,
    fit,
    spirals,
)
from minidistill.support.files import read_arrays, write_npz
from minidistill.training.checkpoint import Checkpoint, settings_of
from minidistill.training.run import Run

ARRAYS = ("parameters", "optimizer_state", "best_parameters")


def pictures(seed):
    """Noisy images of 5x5 with a bright pixel near the middle, whose place is the class: hard enough to stop early."""
    generator = np.random.default_rng(seed)
    y = generator.integers(0, 3, 300)
    x = generator.normal(0, 1, (300, 25)).astype(np.float32)
    x[np.arange(300), 11 + y] += 2
    return Dataset(x, y)


def train(path, backend="numpy", jitter=True, callbacks=()):
    """A run with everything that a checkpoint has to bring back; it stops early."""
    network = MLP((25, 16, 3), dropout=(0.1, 0.3), seed=4, backend=backend)
    history = fit(
        network, pictures(0), epochs=80, batch_size=16, optimizer=Adam(CosineSchedule(0.003)), seed=2, patience=20,
        validation=pictures(1), augment=RandomShift(1) if jitter else None, checkpoint=path, checkpoint_every=2,
        callbacks=callbacks,
    )  # fmt: skip
    return network, history


def start(path, code, *arguments):
    """Python code that may use this file, in a process of its own."""
    paths = [str(Path(__file__).parent), *sys.path]
    command = [sys.executable, "-c", f"from test_checkpoint import *; {code}", str(path), *map(str, arguments)]
    return subprocess.run(command, env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)}, check=False).returncode


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def kill_after(epochs, seconds):
    """A callback: `kill -9` so many epochs after the start of this process and so long after the end of the last."""
    calls = itertools.count(1)

    def callback(network, history):
        if next(calls) == epochs:
            threading.Timer(seconds, kill).start()

    return [callback]


def train_and_die(path, backend, jitter, epochs, seconds):
    train(path, backend, jitter == "True", kill_after(int(epochs), float(seconds)))
    os._exit(0)  # the timer may still be waiting


def kill_in_mid_write(path, backend="numpy"):
    """A run that dies when half of its third checkpoint is on the disk."""
    written = []

    def save_half(stream, **arrays):
        written.append(stream)
        whole(stream, **arrays)
        if len(written) == 3:
            stream.flush()
            os.truncate(stream.fileno(), stream.tell() // 2)
            kill()

    whole, minidistill.support.files.np.savez = np.savez, save_half
    train(path, backend)


def figures(history):
    """All that a history holds but the seconds, which are never the same; NaN equals itself here."""
    return repr([epoch[:-1] for epoch in history.epochs]), repr(history.best[:-1]), history.stopped_early


def assert_same_end(path, other_path, network, history, other, other_history):
    np.testing.assert_array_equal(network.parameters, other.parameters)
    assert figures(history) == figures(other_history)
    one, two = read_arrays(path), read_arrays(other_path)
    for name in ARRAYS:
        np.testing.assert_array_equal(one[name], two[name])


# ---------------------------------------------------------------------------------------------- kill -9


@pytest.mark.parametrize(
    ("backend", "jitter"),
    [
        ("numpy", True),
        pytest.param("cpu", True, marks=[pytest.mark.compiles, pytest.mark.one_width]),
        pytest.param("cpu", False, marks=[pytest.mark.compiles, pytest.mark.one_width]),
    ],
)
def test_a_run_killed_again_and_again_ends_with_the_same_bits(tmp_path, backend, jitter):
    network, history = train(tmp_path / "whole.npz", backend, jitter)
    assert history.stopped_early and 20 < len(history.epochs) < 80
    moments, kills, path = random.Random(0), 0, tmp_path / "killed.npz"
    an_epoch = np.median(history.column("seconds"))  # the first may have compiled
    code = "train_and_die(*sys.argv[1:])"
    while start(path, code, backend, jitter, moments.randint(1, 16), moments.uniform(0, 2 * an_epoch)) != 0:
        kills += 1
        assert kills < 40
    assert kills >= 2
    again, again_history = train(path, backend, jitter)  # finished: comes back at once
    assert_same_end(tmp_path / "whole.npz", path, network, history, again, again_history)


def test_killed_while_writing_the_file_before_stays_and_is_gone_on_from(tmp_path):
    path = tmp_path / "run.npz"
    assert start(path, "kill_in_mid_write(sys.argv[1])") == -signal.SIGKILL
    assert len(read_arrays(path)["epochs"]) == 4  # that of the second writing, whole
    (part,) = set(os.listdir(tmp_path)) - {"run.npz", ".run.npz.lock"}
    assert part.startswith(".minidistill-") and part.endswith(".part")
    whole = train(tmp_path / "whole.npz")
    assert_same_end(tmp_path / "whole.npz", path, *whole, *train(path))


# ---------------------------------------------------------------------------------------------- stopped in other ways


@pytest.fixture
def data():
    return spirals(40, classes=2, seed=3)


def short(path, data, network=None, **options):
    """Six epochs of a small network; returns it and its history."""
    network = network or MLP((2, 6, 2), dropout=0.2)
    options = {"epochs": 6, "batch_size": 8, "checkpoint": path, **options}
    return network, fit(network, data, **options)


def stop_after(epochs, error=KeyboardInterrupt):
    def callback(network, history):
        if len(history.epochs) == epochs:
            raise error

    return [callback]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize("every", [1, 2, 4, 100])
def test_after_ctrl_c_or_an_error_the_same_call_goes_on_with_the_same_network(tmp_path, data, every, error):
    whole = short(tmp_path / "whole.npz", data)
    network, path = MLP((2, 6, 2), dropout=0.2), tmp_path / "run.npz"
    with pytest.raises(error):
        short(path, data, network, checkpoint_every=every, callbacks=stop_after(4, error))
    assert (len(read_arrays(path)["epochs"]) if path.exists() else 0) == 3 // every * every
    if not path.exists():
        network = None  # there is nothing to go on from: from the start, then
    assert_same_end(tmp_path / "whole.npz", path, *whole, *short(path, data, network, checkpoint_every=every))


def test_a_checkpoint_changes_nothing(tmp_path, data):
    with_file, history = short(tmp_path / "run.npz", data)
    without, other_history = short(None, data)
    np.testing.assert_array_equal(with_file.parameters, without.parameters)
    assert figures(history) == figures(other_history)


@pytest.mark.parametrize("every", [1, 4, 100])
def test_the_file_of_a_finished_run_is_the_end_of_it(tmp_path, data, every):
    path = tmp_path / "run.npz"
    network, history = short(path, data, checkpoint_every=every)
    before = path.read_bytes()
    other = MLP((2, 6, 2), dropout=0.2)
    other.parameters[:] = 7
    again, again_history = short(path, data, other, callbacks=[lambda *given: 1 / 0])
    np.testing.assert_array_equal(again.parameters, network.parameters)
    assert str(again_history) == str(history)  # the seconds too are those of then
    assert path.read_bytes() == before


def test_callbacks_see_the_new_epochs_with_the_whole_history(tmp_path, data):
    with pytest.raises(KeyboardInterrupt):
        short(tmp_path / "run.npz", data, callbacks=stop_after(3))
    seen = []
    short(tmp_path / "run.npz", data, callbacks=[lambda network, history: seen.append(len(history.epochs))])
    assert seen == [3, 4, 5, 6]  # the third was interrupted before it was written


def noise(x, y, generator):
    return x + generator.standard_normal(x.shape).astype(x.dtype), y


@pytest.mark.parametrize("augment", [None, noise], ids=["asked once", "asked anew"])
def test_distilling_goes_on_as_well(tmp_path, data, augment):
    teacher = MLP((2, 9, 2), seed=7)

    def student_of(name, **options):
        student = MLP((2, 5, 2))
        options = {"epochs": 4, "batch_size": 8, "augment": augment, "checkpoint": tmp_path / name, **options}
        return student, distill(teacher, student, data, **options)

    whole = student_of("whole.npz")
    with pytest.raises(KeyboardInterrupt):
        student_of("run.npz", callbacks=stop_after(3))
    assert_same_end(tmp_path / "whole.npz", tmp_path / "run.npz", *whole, *student_of("run.npz"))


# ---------------------------------------------------------------------------------------------- another run


def quiet(x, y, generator):
    return x, y


LOGITS = np.random.default_rng(0).normal(0, 1, (40, 2)).astype(np.float32)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"batch_size": 10}, "batch_size was 8, is now 10$"),
        ({"epochs": 7}, "epochs was 6, is now 7$"),
        ({"seed": 1}, "seed was 0, is now 1$"),
        ({"loss": CrossEntropy(0.1)}, r"loss was CrossEntropy\(label_smoothing=0.0\), is now .*0.1\)$"),
        ({"optimizer": SGD(0.2)}, r"optimizer was SGD\(learning_rate=0.1,.*, is now SGD\(learning_rate=0.2,"),
        ({"optimizer": SGD(CosineSchedule(0.1))}, r"optimizer was .*, is now SGD\(learning_rate=CosineSchedule\("),
        ({"augment": noise}, r"augment was \[\], is now \[<function noise>\]$"),
        ({"network": {"sizes": (2, 5, 2)}}, r"sizes was \(2, 6, 2\), is now \(2, 5, 2\)$"),
        ({"network": {"dropout": 0}}, r"dropout was \(0.0, 0.2\), is now \(0.0, 0.0\)$"),
        ({"network": {"activation": "tanh"}}, "activation was relu, is now tanh$"),
        ({"network": {"seed": 1}}, "the network's seed was 0, is now 1$"),
        ({"network": {"dtype": "float64"}}, "dtype was float32, is now float64; data was"),
        ({"data": spirals(40, classes=2, seed=4)}, r"data was [0-9a-f]{16}, is now [0-9a-f]{16}$"),
        ({"validation": spirals(40, classes=2)}, "validation was None, is now [0-9a-f]{16}$"),
        ({"validation": spirals(40, classes=2), "patience": 3}, "patience was None, is now 3; validation was"),
        ({"targets": LOGITS}, "targets was None, is now [0-9a-f]{16}$"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_the_file_of_another_run_is_refused_and_what_differs_is_named(tmp_path, data, options, said):
    path = tmp_path / "run.npz"
    short(path, data)
    before, network = path.read_bytes(), MLP(**{"sizes": (2, 6, 2), "dropout": 0.2, **options.get("network", {})})
    parameters = network.parameters.copy()
    with pytest.raises(ValueError, match=f"cannot resume from checkpoint .*run.npz: it is of another run: {said}"):
        short(path, **{"data": data, **options, "network": network})
    np.testing.assert_array_equal(network.parameters, parameters)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ({"targets": LOGITS}, {"targets": LOGITS[::-1]}, "targets was"),
        ({"targets": lambda x: x}, {"targets": lambda x: 2 * x}, "targets was"),
        ({"targets": TopK.of(LOGITS, 1, 1.0), "loss": TopKTarget()},
         {"targets": TopK.of(2 * LOGITS, 1, 1.0), "loss": TopKTarget()}, "targets was"),
        ({"augment": noise}, {"augment": quiet}, r"augment was \[<function noise>\], is now \[<function quiet>\]"),
        ({"augment": [noise, quiet]}, {"augment": [quiet, noise]}, "augment was"),
        ({"optimizer": SGD(CosineSchedule(0.1))}, {"optimizer": SGD(CosineSchedule(0.1, 0.01))}, "optimizer was"),
    ],
    ids=["logits", "functions", "top k", "augment", "order", "schedule"],
)  # fmt: skip
def test_targets_and_functions_are_told_apart(tmp_path, data, first, second, said):
    first, second = ({"loss": SoftTarget(), "targets": lambda x: x, **options} for options in (first, second))
    short(tmp_path / "run.npz", data, **first)
    short(tmp_path / "run.npz", data, **first)
    with pytest.raises(ValueError, match=f"it is of another run: {said}"):
        short(tmp_path / "run.npz", data, **second)


def test_other_labels_are_another_run(tmp_path, data):
    short(tmp_path / "run.npz", data)
    with pytest.raises(ValueError, match="it is of another run: data was"):
        short(tmp_path / "run.npz", Dataset(data.x, 1 - data.y))


def test_a_function_has_the_same_name_in_every_process(tmp_path, data):
    def schedule(progress):
        return 0.1

    for _ in range(2):  # two objects at two addresses
        short(tmp_path / "run.npz", data, augment=[lambda x, y, generator: (x, y)], optimizer=SGD(schedule))


# ---------------------------------------------------------------------------------------------- damage


def test_a_damaged_file_is_refused_or_harmless_wherever_the_damage_is(tmp_path, data):
    path = tmp_path / "run.npz"
    network, _ = short(path, data)
    whole = path.read_bytes()
    damaged = [whole[:size] for size in range(0, len(whole), 97)]
    damaged += [whole[:k] + bytes([whole[k] ^ 0x55]) + whole[k + 1 :] for k in range(0, len(whole), 53)]
    refused = 0
    for content in damaged:
        path.write_bytes(content)
        other = MLP((2, 6, 2), dropout=0.2)
        before = other.parameters.copy()
        try:
            short(path, data, other)
        except ValueError as error:
            assert "run.npz" in str(error)
            np.testing.assert_array_equal(other.parameters, before)
            refused += 1
        else:  # a byte that says nothing, such as a date of the zip archive
            np.testing.assert_array_equal(other.parameters, network.parameters)
    assert refused > len(damaged) / 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"parameters": np.zeros(3, np.float32)}, r"parameters has shape \(3,\)"),
        ({"parameters": np.full(32, np.nan, np.float32)}, "parameters must be finite, got nan"),
        ({"settings": np.zeros(3)}, ""),
        ({"epochs": np.zeros((2, 3))}, ""),
        ({"epochs": np.zeros((2, 6))}, "epochs must be numbered from 1 to at most"),
        ({"best": 99}, ""),
        ({"best": -1}, "best must be at least 0, got -1"),
        ({"best": np.inf}, "best must be a whole number, got inf"),
        ({"best_parameters": np.full(32, np.inf, np.float32)}, "best_parameters must be finite"),
        ({"stopped_early": np.inf}, "stopped_early has dtype float64"),
    ],
    ids=str,
)
def test_contents_that_make_no_sense_are_refused(tmp_path, data, change, said):
    path = tmp_path / "run.npz"
    short(path, data)
    found = read_arrays(path)
    write_npz(path, str(found.pop("kind")), {**found, **change})
    with pytest.raises(ValueError, match=f"cannot resume from checkpoint .*run.npz: {said}"):
        short(path, data)


def test_a_file_of_another_kind_is_refused_and_stays(tmp_path, data):
    path = tmp_path / "network.npz"
    MLP((2, 6, 2)).save(path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"network\.npz is not a checkpoint of minidistill: it holds"):
        short(path, data)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"checkpoint": 3}, TypeError, "checkpoint must be the path of a file, got 3"),
        ({"checkpoint": "/nowhere/run.npz"}, FileNotFoundError, "checkpoint: cannot write /nowhere/run.npz: no folder"),
        ({"checkpoint": os.devnull}, FileExistsError, "checkpoint: expected a regular file, got a pipe or a device"),
        ({"checkpoint": "/"}, IsADirectoryError, "checkpoint: cannot write '/': it is a folder"),
        ({"checkpoint_every": 0}, ValueError, "checkpoint_every must be at least 1, got 0"),
        ({"checkpoint_every": 1.5}, TypeError, "checkpoint_every must be a whole number, got 1.5"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_trained(tmp_path, data, options, error, said):
    network = MLP((2, 6, 2))
    before = network.parameters.copy()
    with pytest.raises(error, match=said):
        short(tmp_path / "run.npz", data, network, **options)
    np.testing.assert_array_equal(network.parameters, before)


@pytest.mark.parametrize("column", [1, 2, 5])  # rate, loss, seconds
def test_infinite_figures_of_an_epoch_are_refused(tmp_path, data, column):
    path = tmp_path / "run.npz"
    short(path, data, epochs=2)
    arrays = read_arrays(path)
    arrays["epochs"][1, column] = np.inf
    write_npz(path, arrays.pop("kind").item(), arrays)
    with pytest.raises(ValueError, match=r"cannot resume from checkpoint .*run\.npz: epochs must be finite"):
        short(path, data, epochs=2)


def test_a_second_run_with_the_same_checkpoint_is_refused_while_the_first_trains(tmp_path, data):
    def second(network, history):
        with pytest.raises(BlockingIOError, match=r"run.npz is in use by another process"):
            short(tmp_path / "run.npz", data)

    short(tmp_path / "run.npz", data, callbacks=[second])
    short(tmp_path / "run.npz", data)


def test_every_argument_of_a_run_tells_it_from_others(data):
    arguments = [data, CrossEntropy(), 6, 8, SGD(), 0, None, None, None, []]
    run = Run([MLP((2, 6, 2))], *arguments)
    of_a_network = {"sizes", "activation", "dropout", "the network's seed", "dtype", "backend"}
    assert set(settings_of(run)) == {field.name for field in fields(Run)} - {"networks"} | of_a_network


def test_a_device_is_refused_before_anything_is_made_beside_it(data):
    before = set(os.listdir("/dev"))
    run = Run([MLP((2, 6, 2))], data, CrossEntropy(), 6, 8, SGD(), 0, None, None, None, [])
    with pytest.raises(FileExistsError, match="checkpoint: expected a regular file"):
        Checkpoint("/dev/null", 1, run, [], [])
    assert set(os.listdir("/dev")) == before
