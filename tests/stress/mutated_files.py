# SPDX-License-Identifier: MIT
"""Damaged files: every reader of the package, on mutations of what the package writes, from a fixed seed.

A reader may accept a mutated file, or refuse it with ValueError or OSError. Any other exception is a fault, and so is a
changed result from a format with checksums. Run as a script for more of them:

    PYTHONPATH=. python tests/stress/mutated_files.py [COUNT [SEED]]
"""

import gzip
import io
import struct
import sys
import tempfile
import warnings
import zipfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from minidistill import MLP, Dataset, QualityGate, QuantizedMLP, SoftTargets, fit, load_idx, load_table, quantize
from minidistill.experiments.sweep import sweep
from minidistill.export import from_onnx, from_pt, from_safetensors, to_onnx, to_pt, to_safetensors

DATA = Dataset(np.random.default_rng(0).standard_normal((40, 3)), np.arange(40) % 2)
NETWORK, TEACHER = MLP((3, 4, 2)), MLP((3, 5, 2), seed=1)
LOGITS = TEACHER.logits(DATA.x)
ONE_THREAD = ThreadPoolExecutor(1)


def write_table(path):
    rows = np.column_stack([DATA.x, DATA.y])
    np.savetxt(path, rows, delimiter=",", header="a,b,c,label", comments="")


def write_idx(path):
    header = struct.pack(">BBBBII", 0, 0, 0x0D, 2, *DATA.x.shape)
    path.write_bytes(header + DATA.x.astype(">f4").tobytes())


def write_gate(path):
    QualityGate(NETWORK, TEACHER, 0.5, 1.0, file=path).update(DATA.x)


def read_checkpoint(path):
    network = MLP((3, 4, 2))
    fit(network, DATA, epochs=2, batch_size=20, checkpoint=path, progress=False)
    return network.parameters


def read_sweep(path):
    grid = {"temperatures": (1, 4), "alphas": (0.5,), "widths": (4,), "seeds": (0, 1), "epochs": 1}
    points = sweep(TEACHER, DATA, DATA, file=path, executor=ONE_THREAD, progress=False, batch_size=20, **grid).points
    return np.array([point.accuracy for point in points])


def read_table(path):
    data = load_table(path)
    return np.column_stack([data.x, np.zeros(len(data)) if data.y is None else data.y])


def read_soft_targets(path):
    return SoftTargets.load(path).logits_for(DATA)


def read_quantized(path):
    return QuantizedMLP.load(path).logits(DATA.x)


def read_gate(path):
    gate = QualityGate(NETWORK, TEACHER, 0.5, 1.0, file=path)
    return np.array([gate.n_seen, gate.n_sampled, gate.n_agreed, *gate.interval])


KINDS = {  # name: (writes a file to a path, reads it and returns an array, whether the format has checksums)
    "network.npz": (NETWORK.save, lambda path: MLP.load(path).parameters, True),
    "quantized.npz": (quantize(NETWORK, DATA.x).save, read_quantized, True),
    "dataset.npz": (lambda path: np.savez_compressed(path, x=DATA.x, y=DATA.y), read_table, True),
    "soft-targets.npz": (SoftTargets.of(LOGITS, DATA).save, read_soft_targets, True),
    "checkpoint.npz": (read_checkpoint, read_checkpoint, True),
    "gate.npz": (write_gate, read_gate, True),
    "sweep.jsonl": (read_sweep, read_sweep, True),
    "images.idx": (write_idx, load_idx, False),
    "table.csv": (write_table, read_table, False),
}
for library, name, kind in (
    ("onnx", "network.onnx", (lambda path: to_onnx(NETWORK, path), from_onnx, False)),
    ("safetensors", "network.safetensors", (lambda path: to_safetensors(NETWORK, path), from_safetensors, False)),
    ("torch", "network.pt", (lambda path: to_pt(NETWORK, path), lambda path: from_pt(path, "relu"), False)),
):
    if find_spec(library) is not None:
        KINDS[name] = kind

# ---------------------------------------------------------------------------------------------- mutations


def with_flipped_bit(content, random):
    place = random.integers(len(content))
    return content[:place] + bytes([content[place] ^ 1 << random.integers(8)]) + content[place + 1 :]


def with_other_byte(content, random):
    """Bytes that have a meaning in the syntax of a format replace others."""
    telling = b"\x00\xff\n\r,.()[]{}'\"-0123456789eNi:"
    place, byte = random.integers(len(content)), random.choice(list(telling))
    return content[:place] + bytes([byte]) + content[place + 1 :]


def cut(content, random):
    return content[: random.integers(len(content))]


def without_a_piece(content, random):
    start, size = random.integers(len(content)), random.integers(1, 9)
    return content[:start] + content[start + size :]


def with_a_piece_twice(content, random):
    start, size = random.integers(len(content)), random.integers(1, 40)
    return content[: start + size] + content[start:]


def with_noise(content, random):
    place = random.integers(len(content))
    return content[:place] + random.bytes(random.integers(1, 9)) + content[place:]


BYTES = (with_flipped_bit, with_other_byte, cut, without_a_piece, with_a_piece_twice, with_noise)


def with_an_entry_mutated(content, random):
    """A zip archive whose checksums are right, though the bytes of an entry are not."""
    return repacked(content, random, lambda entry: random.choice(BYTES)(entry, random))


def with_an_odd_array(content, random):
    """An .npz in which an array is replaced by one of another type, shape or value."""
    return repacked(content, random, lambda entry: odd_array(entry, random))


def repacked(content, random, change):
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(stream, "w") as new:
        chosen = random.choice(old.namelist())
        for name in old.namelist():
            entry = old.read(name)
            new.writestr(name, change(entry) if name == chosen and entry else entry)
    return stream.getvalue()


def odd_array(entry, random):
    array = np.load(io.BytesIO(entry))
    number = random.choice([0, 1, -1, 2**31, 2**62, 1e300, 1e-320, np.nan, np.inf, -np.inf])
    choices = [
        np.array(number), np.array([number]), np.full((1, 1, 1), number), np.full(array.shape, number),
        np.array("text"), np.array(["a", "b"]), np.array(b"\xff"), np.zeros(0), np.zeros((0, 2)), np.array(True),
        np.zeros(3, [("a", "f4"), ("b", "U3")]), np.array(1j), np.array("2020-01-01", "M8[s]"), array[None],
        array.ravel()[:-1], np.repeat(array.ravel(), 2), array.astype("U9"),
    ]  # fmt: skip
    if array.dtype.kind in "iuf" and array.size:
        changed = array.copy().ravel()
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            changed[random.integers(len(changed))] = np.array(number).astype(array.dtype)
        choices += [changed.reshape(array.shape)] * 6
    stream = io.BytesIO()
    np.save(stream, choices[random.integers(len(choices))])
    return stream.getvalue()


def mutated(name, content, random):
    """The content, mutated once or several times, and whether only a checksum can detect every mutation."""
    raw = [*BYTES]
    if name.endswith((".npz", ".pt")) and random.random() < 0.7:
        deep = [with_an_entry_mutated] + [with_an_odd_array] * 2 * name.endswith(".npz")
        return deep[random.integers(len(deep))](content, random), False
    if name.endswith(".idx") and random.random() < 0.5:
        packed = gzip.compress(content, mtime=0)
        inside = random.random() < 0.5
        damage = raw[random.integers(len(raw))]
        return gzip.compress(damage(content, random)) if inside else damage(packed, random), False
    for _ in range(random.integers(1, 4)):
        content = raw[random.integers(len(raw))](content, random) or b"\x00"
    return content, True


# ---------------------------------------------------------------------------------------------- the run


def read_mutated_files(count, seed=0):
    """({kind: Counter of outcomes}, faults); `count` files in all, as many of each kind."""
    outcomes, faults = {name: Counter() for name in KINDS}, []
    with tempfile.TemporaryDirectory() as folder:
        for index, (name, (write, read, has_checksums)) in enumerate(KINDS.items()):
            path = Path(folder, name)
            write(path)
            content, expected = path.read_bytes(), read(path)
            for number in range(count // len(KINDS)):
                random = np.random.default_rng([seed, index, number])
                damaged, by_bytes = mutated(name, content, random)
                path.write_bytes(damaged)
                outcome = outcome_of(read, path, expected if has_checksums and by_bytes else None)
                outcomes[name][outcome] += 1
                if outcome not in ("read", "refused"):
                    faults.append(f"{name}, number {number} of seed {seed}: {outcome}")
    return outcomes, faults


def outcome_of(read, path, expected):
    """`expected` is what the file must give, if anything; None where a mutation may change it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = read(path)
    except (ValueError, OSError):
        return "refused"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    if expected is not None and not np.array_equal(found, expected):
        return "another result, without an error"
    return "read"


if __name__ == "__main__":
    numbers = [*map(int, sys.argv[1:]), *(2400, 0)[len(sys.argv) - 1 :]]
    for name, counts in (found := read_mutated_files(*numbers))[0].items():
        print(f"{name:22}", dict(counts))
    print(*found[1], sep="\n")
    sys.exit(bool(found[1]))
