# SPDX-License-Identifier: MIT
"""Small files that claim gigabytes or nest without end; `python tests/stress/crafted_files.py` refuses them one by one.

Each is refused with an error that names it, and all of them together take little memory.
"""

import gc
import gzip
import io
import json
import tempfile
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np

from minidistill import MLP, Dataset, QualityGate, QuantizedMLP, SoftTargets, fit, load_idx, load_table, use_backend
from minidistill.experiments.sweep import sweep
from minidistill.export import from_onnx, from_pt, from_safetensors

GIGABYTES = 7 * 2**30
X = np.random.default_rng(0).standard_normal((20, 3)).astype(np.float32)
DATA = Dataset(X, (X[:, 0] > 0).astype(int))


def npy(shape, dtype="<f8", content=b""):
    """A .npy file with this header, and whatever content."""
    header = repr({"descr": dtype, "fortran_order": False, "shape": shape}).encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + content


def text(value):
    stream = io.BytesIO()
    np.save(stream, np.array(value))
    return stream.getvalue()


def zipped(**entries):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(f"{name}.npy", content)
    return stream.getvalue()


def bombs(kind, name):
    """Archives that say they are a `kind` and whose array `name` is not what it claims."""
    of = {"kind": text(kind)}
    zeros = bytes(80 * 2**20)
    yield zipped(**of, **{name: npy((GIGABYTES // 8,))})
    yield zipped(**of, **{name: npy((2**40, 2**40))})
    yield zipped(**of, **{name: npy((len(zeros) // 8,), content=zeros)})
    yield zipped(**of, **{name: npy((10,), "|O", b"cos\nsystem\n")})
    yield zipped(**of, **{name: npy((2**31,), "<U1")})
    yield zipped(**of, bomb=npy((len(zeros) // 8,), content=zeros))
    yield zipped(**of, **{name: npy((3,))[:20]})


def state_dict_bomb():
    import torch

    stream = io.BytesIO()
    torch.save({"0.weight": torch.zeros(1).expand(2**20, 2**10), "0.bias": torch.zeros(1).expand(2**20)}, stream)
    return stream.getvalue()


def torch_bomb():
    return zipped(data=bytes(2**27))


def safetensors_file(header):
    content = json.dumps(header).encode() if isinstance(header, dict) else header
    return len(content).to_bytes(8, "little") + content


def crafted():
    """Pairs of a reader and the content of a file."""
    found = []
    for read, kind, name in (
        (MLP.load, "network", "parameters"),
        (QuantizedMLP.load, "quantized-network", "codes"),
        (SoftTargets.load, "soft-targets", "logits"),
        (lambda path: fit(MLP((3, 4, 2)), DATA, epochs=1, checkpoint=path), "checkpoint", "settings"),
        (lambda path: QualityGate(MLP((3, 2)), MLP((3, 2)), 0.9, file=path), "quality-gate", "counts"),
    ):
        found += [(read, content) for content in bombs(kind, name)]
    found += [(load_table, content) for content in list(bombs("table", "x"))[:2]]
    for content in (b"[" * 200_000 + b"\n", b'{"minidistill": ' * 20_000 + b"\n", b'{"minidistill": "sweep"}\n'):
        found.append((lambda path: sweep(MLP((3, 4, 2)), DATA, DATA, file=path, check_teacher=False), content))
    lying = {"0.weight": {"dtype": "F32", "shape": [2**20, 2**20], "data_offsets": [0, 2**42]}}
    for content in (safetensors_file(lying), safetensors_file(b"{" * 100_000), (2**60).to_bytes(8, "little"), b""):
        found.append((lambda path: from_safetensors(path, "relu"), content))
    for content in (b"\x3a" + b"\xff" * 9 + b"\x01", b"\x3a\x80\x80\x40" + b"\x0a\x00" * 2**19, b"\x08\x08", b""):
        found.append((from_onnx, content))
    images = b"\0\0\x08\x03" + (2**20).to_bytes(4, "big") * 3
    for content in (images, gzip.compress(images + bytes(2**27)), b"\0\0\x08\xff"):
        found.append((lambda path: load_idx(path), content))
    with suppress(ImportError):
        found += [(lambda path: from_pt(path, "relu"), content) for content in (state_dict_bomb(), torch_bomb())]
    return found


def refused(folder):
    """The number of files, the errors that are not as they should be, and by how many MB the peak of memory rose."""
    use_backend("numpy")  # numba alone takes a hundred megabytes
    wrong, files = [], []
    for k, (read, content) in enumerate(crafted()):
        path = Path(folder) / f"crafted-{k}"
        path.write_bytes(content)
        files.append((read, path))
    del content, read
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = memory_in_mb("VmRSS")
    for read, path in files:
        try:
            read(path)
        except (ValueError, OSError) as error:
            if path.name not in str(error) or len(str(error)) > 1000 or not str(error).isprintable():
                wrong.append(f"{path.name}: {str(error)[:300]!r}")
        else:
            wrong.append(f"{path.name} was read")
    return len(files), wrong, memory_in_mb("VmHWM") - before


def memory_in_mb(name):
    """Of this process, as Linux says: VmRSS is what it has, VmHWM the most that it had."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(refused(folder)))
