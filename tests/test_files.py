# SPDX-License-Identifier: MIT
"""Files: whole or not there, and read without running any code in them."""

import os
import pickle
import stat
import sys
from pathlib import Path

import numpy as np
import pytest

from minidistill.files import cache_folder, read_npz, replacing, write_npz

ARRAYS = {"a": np.arange(6.0).reshape(2, 3), "b": np.array("text")}


class Trap:
    """Unpickling one makes a folder: proof that code in a file was run."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def write_half(path, error):
    with replacing(path) as stream:
        stream.write(b"half of the new")
        raise error


# ---------------------------------------------------------------------------------------------- writing


def test_arrays_come_back_as_they_were(tmp_path):
    write_npz(tmp_path / "f.npz", "sample", ARRAYS)
    again = read_npz(tmp_path / "f.npz", "sample", ("a", "b"))
    assert list(again) == ["a", "b"]
    np.testing.assert_array_equal(again["a"], ARRAYS["a"])
    assert again["a"].dtype == np.float64
    assert str(again["b"]) == "text"


def test_a_block_that_fails_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError):
        write_half(path, RuntimeError)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["f"]


def test_ctrl_c_in_mid_write_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        write_half(tmp_path / "f", KeyboardInterrupt)
    assert os.listdir(tmp_path) == []


def test_nobody_sees_the_file_before_it_is_whole(tmp_path):
    with replacing(tmp_path / "f") as stream:
        stream.write(b"half")
        stream.flush()
        assert not (tmp_path / "f").exists()
    assert (tmp_path / "f").read_bytes() == b"half"
    assert os.listdir(tmp_path) == ["f"]


def test_an_old_file_is_replaced(tmp_path):
    for content in (b"old and long", b"new"):
        with replacing(tmp_path / "f") as stream:
            stream.write(content)
    assert (tmp_path / "f").read_bytes() == b"new"


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX")
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_the_file_gets_the_mode_of_any_new_file(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        write_npz(tmp_path / "f.npz", "sample", ARRAYS)
        assert stat.S_IMODE((tmp_path / "f.npz").stat().st_mode) == mode
        assert os.umask(umask) == umask  # asking for the umask has not changed it
    finally:
        os.umask(before)


def test_a_folder_in_its_place_is_named(tmp_path):
    with pytest.raises(IsADirectoryError, match=r"cannot write .*: it is a folder"):
        write_npz(tmp_path, "sample", ARRAYS)
    assert os.listdir(tmp_path) == []


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"cannot write .*f\.npz: no folder .*nowhere"):
        write_npz(tmp_path / "nowhere" / "f.npz", "sample", ARRAYS)


def test_a_file_in_place_of_the_folder_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FileNotFoundError, match=r"cannot write .*f\.npz: no folder"):
        write_npz(tmp_path / "file" / "f.npz", "sample", ARRAYS)


@pytest.mark.skipif(getattr(os, "geteuid", lambda: 0)() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_named(tmp_path):
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(PermissionError, match=r"cannot write .*f\.npz: Permission denied"):
            write_npz(tmp_path / "f.npz", "sample", ARRAYS)
    finally:
        tmp_path.chmod(0o755)
    assert os.listdir(tmp_path) == []


# ---------------------------------------------------------------------------------------------- reading


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"f\.npz"):
        read_npz(tmp_path / "f.npz", "sample", ("a",))


def test_another_kind_is_refused_and_its_content_named(tmp_path):
    write_npz(tmp_path / "f.npz", "sample", ARRAYS)
    with pytest.raises(ValueError, match=r"f\.npz is not a network of minidistill: it holds a, b, kind"):
        read_npz(tmp_path / "f.npz", "network", ("a",))


def test_an_npz_of_somebody_else_is_refused(tmp_path):
    np.savez(tmp_path / "f.npz", weights=np.zeros(3))
    with pytest.raises(ValueError, match="is not a sample of minidistill: it holds weights"):
        read_npz(tmp_path / "f.npz", "sample", ("a",))


def test_an_npz_that_holds_nothing_is_refused(tmp_path):
    np.savez(tmp_path / "f.npz")
    with pytest.raises(ValueError, match="it holds nothing"):
        read_npz(tmp_path / "f.npz", "sample", ("a",))


def test_a_file_that_lacks_an_array_is_refused_and_its_content_named(tmp_path):
    write_npz(tmp_path / "f.npz", "sample", ARRAYS)
    with pytest.raises(ValueError, match=r"f\.npz is not a sample of minidistill: it holds a, b, kind"):
        read_npz(tmp_path / "f.npz", "sample", ("a", "missing"))


def test_a_single_array_is_refused(tmp_path):
    np.save(tmp_path / "f.npy", np.zeros(3))
    with pytest.raises(ValueError, match=r"f\.npy is not an \.npz file"):
        read_npz(tmp_path / "f.npy", "sample", ("a",))


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"PK\x03\x04", b"PK\x05\x06" + bytes(18), b"\x93NUMPY", bytes(40)], ids=repr
)
def test_a_file_that_is_no_npz_is_refused(tmp_path, content):
    (tmp_path / "f.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"f\.npz (is not an? |holds )"):
        read_npz(tmp_path / "f.npz", "sample", ("a",))


def test_a_pickle_is_refused_and_not_run(tmp_path):
    (tmp_path / "f.npz").write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    with pytest.raises(ValueError, match=r"is not an \.npz file"):
        read_npz(tmp_path / "f.npz", "sample", ("a",))
    assert not (tmp_path / "sprung").exists()


def test_an_array_of_pickled_objects_is_refused_and_not_run(tmp_path):
    write_npz(tmp_path / "f.npz", "sample", {"a": np.array([Trap(tmp_path / "sprung")], dtype=object)})
    with pytest.raises(ValueError, match=r"is not an \.npz file.*pickle"):
        read_npz(tmp_path / "f.npz", "sample", ("a",))
    assert not (tmp_path / "sprung").exists()


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(OSError, match=tmp_path.name):
        read_npz(tmp_path, "sample", ("a",))


def test_a_link_is_followed(tmp_path):
    target, link = tmp_path / "target.npz", tmp_path / "link.npz"
    link.symlink_to(target)
    write_npz(link, "sample", ARRAYS)
    assert link.is_symlink()
    assert set(read_npz(target, "sample", tuple(ARRAYS))) == set(ARRAYS)


def test_a_pipe_is_written_to_and_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with replacing(pipe) as stream:
        stream.write(b"all of it")
    assert os.read(reader, 100) == b"all of it"
    os.close(reader)
    assert stat.S_ISFIFO(os.stat(pipe).st_mode)


# ---------------------------------------------------------------------------------------------- the cache's place


@pytest.mark.parametrize(
    ("system", "usual"),
    [("linux", "home/.cache"), ("darwin", "home/Library/Caches"), ("win32", "local"), ("freebsd14", "home/.cache")],
)
def test_caches_lie_where_those_of_the_user_do(tmp_path, monkeypatch, system, usual):
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert cache_folder() == tmp_path / usual / "minidistill"


def test_another_place_for_caches_is_chosen_by_variable_and_by_argument(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert cache_folder() == Path("/elsewhere/minidistill")
    assert cache_folder("/here") == Path("/here/minidistill")
