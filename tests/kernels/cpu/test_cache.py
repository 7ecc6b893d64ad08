# SPDX-License-Identifier: MIT
"""kernels/cpu/cache.py: kernels are kept on disk, and neither damage nor processes that save at once do harm."""

import os
import shutil
import stat
import subprocess
import sys

import pytest

pytest.importorskip("numba")

from cache_damage import flip_bits, write_together

from minidistill.kernels.cpu import cache
from minidistill.kernels.cpu.cache import HASH_BYTES, Entries


def test_an_entry_with_a_flipped_bit_is_compiled_again(tmp_path):
    status, files, hits, errors = flip_bits(tmp_path, flips=100)
    assert status == 0, errors
    assert files == 2
    assert hits == [1] * 100


def test_processes_that_compile_one_kernel_at_once_leave_a_cache_that_is_right(tmp_path):
    statuses, errors, hits = write_together(tmp_path, processes=3)
    assert statuses == [0, 0, 0], errors
    assert not errors
    assert hits == 2


def test_an_entry_belongs_to_its_key_and_to_the_version_of_its_source(tmp_path):
    entries = Entries(tmp_path, "kernel", ("stamp", 1))
    entries.save("float32", [1, 2])
    entries.save("float64", [3, 4])
    assert entries.load("float32") == [1, 2] and entries.load("float64") == [3, 4]
    assert entries.load("int64") is None
    assert Entries(tmp_path, "kernel", ("stamp", 2)).load("float32") is None
    single, double = (entries._key_and_path(key)[1] for key in ("float32", "float64"))
    single.write_bytes(double.read_bytes())
    assert entries.load("float32") is None, "the content of another signature"
    entries.flush()
    assert entries.load("float64") is None and not list(tmp_path.glob("*.nbc"))


def test_an_entry_that_is_cut_off_anywhere_is_none(tmp_path):
    entries = Entries(tmp_path, "kernel", 0)
    entries.save("key", list(range(20)))
    (file,) = tmp_path.glob("*.nbc")
    content = file.read_bytes()
    for length in (0, 1, HASH_BYTES - 1, HASH_BYTES, HASH_BYTES + 1, len(content) - 1):
        file.write_bytes(content[:length])
        assert entries.load("key") is None


PROGRAM = """
import numpy as np
from minidistill.kernels import cpu
from minidistill.kernels.cpu import activations

z = np.array([[-1.0, 2.0]], np.float32)
assert cpu.relu_forward(z)[0].tolist() == [[0.0, 2.0]]
print(sum(activations._activate.stats.cache_hits.values()))
"""


def run_with_cache(folder):
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder)}
    environment.pop("NUMBA_CACHE_DIR", None)
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.compiles
@pytest.mark.one_width
def test_kernels_are_kept_on_disk_and_damage_is_survived(tmp_path):
    assert run_with_cache(tmp_path) == 0
    assert run_with_cache(tmp_path) == 1
    files = list(tmp_path.rglob("*.nbc"))
    assert files
    for damage in (b"", b"damaged", files[0].read_bytes()[:-1]):
        for file in files:
            file.write_bytes(damage)
        assert run_with_cache(tmp_path) == 0
        assert run_with_cache(tmp_path) == 1


@pytest.mark.compiles
@pytest.mark.one_width
def test_without_a_writable_folder_kernels_still_work(tmp_path):
    file = tmp_path / "file"
    file.write_text("no folder can be made below a file")
    assert run_with_cache(file) == 0


@pytest.mark.compiles
@pytest.mark.one_width
def test_an_edited_formula_gets_a_new_folder(tmp_path, monkeypatch):
    before = cache.fingerprint()
    shutil.copytree(cache.KERNELS, tmp_path / "kernels")
    monkeypatch.setattr(cache, "KERNELS", tmp_path / "kernels")
    assert cache.fingerprint() == before
    found = {before}
    for name in ("rows.py", "cpu/simd.py"):
        with open(tmp_path / "kernels" / name, "a") as source:
            source.write("# edited\n")
        found.add(cache.fingerprint())
    assert len(found) == 3


@pytest.mark.compiles
@pytest.mark.one_width
def test_functions_compiled_in_two_processes_never_have_the_same_name():
    """A kernel from the disk would call the function of its name that another kernel was compiled with just now."""
    program = (
        "import minidistill.kernels.cpu.cache, numba\n"
        "part = numba.njit(lambda x: x)\n"
        "part(1)\n"
        "print(part.overloads[part.signatures[0]].fndesc.mangled_name)"
    )
    command = [sys.executable, "-c", program]
    names = {subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(2)}
    assert len(names) == 2


# ---------------------------------------------------------------------------------------------- other users

OTHER = 65534  # nobody
as_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can make files of another user"
)
COMPILE = """\
import numba, numpy
from minidistill.kernels.cpu.cache import kept_on_disk
kernel = kept_on_disk(numba.njit(lambda x: 2 * x))
assert kernel(numpy.ones(3)).tolist() == [2, 2, 2]
print(sum(kernel.stats.cache_hits.values()))
"""


def cache_hits(parent, cwd, **environment):
    """How many kernels a new process takes from the cache in `parent`, and what it prints besides."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(parent), **environment}
    environment = {name: value for name, value in environment.items() if value is not None}
    (script := cwd / "script.py").write_text(COMPILE)
    done = subprocess.run([sys.executable, script], env=environment, cwd=cwd, capture_output=True, text=True)
    return int(done.stdout), done.stderr


def test_the_folder_and_its_files_are_for_their_user_alone(tmp_path):
    before = os.umask(0)
    try:
        assert [cache_hits(tmp_path / "cache", tmp_path)[0] for _ in range(2)] == [0, 1]
    finally:
        os.umask(before)
    (folder,) = (tmp_path / "cache" / "minidistill").iterdir()
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.rglob("*.nbc"))]
    assert modes == [0o700, 0o600]


@as_root
@pytest.mark.parametrize("made_by_another", ["folder", "link"])
def test_a_folder_of_another_user_is_not_used(tmp_path, made_by_another):
    cache_hits(tmp_path / "cache", tmp_path)
    (folder,) = (tmp_path / "cache" / "minidistill").iterdir()
    if made_by_another == "link":
        folder.rename(tmp_path / "elsewhere")
        folder.symlink_to(tmp_path / "elsewhere")
    os.chown(folder, OTHER, OTHER, follow_symlinks=False)
    hits, warned = cache_hits(tmp_path / "cache", tmp_path)
    assert hits == 0
    assert "another user" in warned


@as_root
def test_a_file_of_another_user_is_not_run(tmp_path):
    cache_hits(tmp_path / "cache", tmp_path)
    (entry,) = (tmp_path / "cache").rglob("*.nbc")
    os.chown(entry, OTHER, OTHER)
    assert cache_hits(tmp_path / "cache", tmp_path)[0] == 0
    assert cache_hits(tmp_path / "cache", tmp_path)[0] == 1  # it has been replaced


def test_a_settings_file_of_the_working_folder_does_not_move_the_cache(tmp_path):
    (tmp_path / ".numba_config.yaml").write_text(f"cache_dir: {tmp_path / 'planted'}\n")
    environment = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "NUMBA_CACHE_DIR": None}
    cache_hits("", tmp_path, **environment)
    assert not (tmp_path / "planted").exists()
    assert len(list((tmp_path / "cache").rglob("*.nbc"))) == 1
