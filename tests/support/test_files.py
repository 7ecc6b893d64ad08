# SPDX-License-Identifier: MIT
"""Files: whole or not there, and read without running any code in them."""

import os
import pickle
import stat
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from fifo import through_a_pipe

from minidistill import load_idx, load_table
from minidistill.support.files import (
    cache_folder,
    check_apart,
    check_place,
    read_arrays,
    read_npz,
    replacing,
    write_npz,
)

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


def test_an_interrupt_just_after_the_renaming_stays_an_interrupt(tmp_path, monkeypatch):
    rename = os.replace

    def interrupted(source, target):
        rename(source, target)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "f") as stream:
        stream.write(b"whole")
    assert os.listdir(tmp_path) == ["f"]


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


@pytest.mark.parametrize("b", [np.zeros(()), np.zeros(3), np.zeros((2, 1)), np.array(["a", "b"])])
def test_arrays_whose_shapes_do_not_belong_together_are_refused(tmp_path, b):
    path, shapes = tmp_path / "f.npz", {"a": "NI", "b": "N"}
    write_npz(path, "sample", {"a": np.zeros((2, 3)), "b": np.zeros(2)})
    assert read_npz(path, "sample", shapes)["b"].shape == (2,)
    write_npz(path, "sample", {"a": np.zeros((2, 3)), "b": b})
    with pytest.raises(ValueError, match=r"f\.npz is damaged: b must be numbers of shape \(N\), got"):
        read_npz(path, "sample", shapes)


def test_text_that_is_no_unicode_is_refused(tmp_path):
    characters = np.array(["text"])
    characters.view(np.uint32)[2] = 2**21
    write_npz(tmp_path / "f.npz", "sample", {"a": characters})
    with pytest.raises(ValueError, match="damaged: a.npy holds text with a character that Unicode does not have"):
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


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX")
def test_the_mode_of_a_file_that_is_replaced_stays(tmp_path):
    path = tmp_path / "f.npz"
    write_npz(path, "sample", ARRAYS)
    for mode in (0o600, 0o640, 0o755):
        path.chmod(mode)
        write_npz(path, "sample", ARRAYS)
        assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_read_only_file_is_not_replaced(tmp_path):
    path = tmp_path / "f.npz"
    path.write_bytes(b"kept")
    path.chmod(0o444)
    for call in (lambda: write_npz(path, "sample", ARRAYS), lambda: check_place("--out", path)):
        with pytest.raises(PermissionError, match="f.npz: it is read-only"):
            call()
    assert path.read_bytes() == b"kept"
    assert os.listdir(tmp_path) == ["f.npz"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can make files of other users")
def test_a_link_of_another_user_is_not_followed(tmp_path):
    target, link = tmp_path / "target.npz", tmp_path / "link.npz"
    target.write_bytes(b"kept")
    link.symlink_to(target)
    os.lchown(link, 65534, 65534)
    with pytest.raises(PermissionError, match=r"link.npz: it is a link that another user made, to .*target.npz"):
        write_npz(link, "sample", ARRAYS)
    assert target.read_bytes() == b"kept"


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


def npz(path, header, values=b"", compression=zipfile.ZIP_STORED):
    """An .npz with one array x, of this header, and of these values after it."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        length = struct.pack("<H", len(header) + 1)
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00" + length + header + b"\n" + values)
    return path


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (2,",   # unclosed: a TokenError of Python's tokenizer
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (1" + b"0" * 30 + b",)}",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (4_000_000_000,)}",
        b"{'descr': '<U4000000000', 'fortran_order': False, 'shape': ()}",
        b"{'descr': '|V0', 'fortran_order': False, 'shape': (4000000000,)}",
        b"{'descr': ('<f4', 7), 'fortran_order': False, 'shape': (2,)}",
        b"{'descr': [('a', '<f4', {})], 'fortran_order': False, 'shape': (2,)}",
        b"{'descr': '<f4', 'fortran_order': 2, 'shape': {2}}",
        b"{" * 500,
        b"(" * 9000,
        b"\xff" * 20,
        b"",
    ],
    ids=lambda header: header[:60].decode("latin-1"),
)
def test_a_damaged_header_of_an_array_is_a_value_error(tmp_path, header):
    with pytest.raises(ValueError, match=r"f\.npz is not an \.npz file, or is damaged: ."):
        read_npz(npz(tmp_path / "f.npz", header, bytes(8)), "sample", ("x",))


def peak_of_refusal(path, said):
    """The most bytes that are allocated until the file is refused."""
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=said):
            read_npz(path, "sample", ("x",))
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_header_that_claims_more_than_the_file_holds_takes_no_memory(tmp_path):
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (400000000,)}"
    path = npz(tmp_path / "f.npz", header, bytes(8))
    assert peak_of_refusal(path, r"x\.npy claims 1,600,000,000 bytes, and has") < 2**20


def test_an_archive_that_unpacks_without_measure_takes_no_memory(tmp_path):
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (50000000,)}"
    path = npz(tmp_path / "f.npz", header, bytes(200_000_000), zipfile.ZIP_DEFLATED)
    assert peak_of_refusal(path, r"it claims 200,000,\d+ bytes of arrays in a file of .*: store the arrays") < 2**20


def test_arrays_that_compress_well_are_read(tmp_path):
    np.savez_compressed(tmp_path / "f.npz", kind="sample", x=np.zeros(10_000_000, np.float32))
    assert len(read_npz(tmp_path / "f.npz", "sample", ("x",))["x"]) == 10_000_000


def test_a_pipe_is_read_whole(tmp_path):
    write_npz(tmp_path / "f.npz", "sample", ARRAYS)
    with through_a_pipe(tmp_path / "pipe", (tmp_path / "f.npz").read_bytes()) as path:
        assert set(read_npz(path, "sample", tuple(ARRAYS))) == set(ARRAYS)


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="has no /dev/zero")
@pytest.mark.parametrize("read", [load_table, load_idx, lambda path: read_npz(path, "sample", ("x",))])
def test_a_device_without_an_end_is_refused(read):
    with pytest.raises(ValueError, match="/dev/zero is a device, and neither a file nor a pipe"):
        read("/dev/zero")


# ---------------------------------------------------------------------------------------------- outputs and inputs


@pytest.fixture
def names(tmp_path, monkeypatch):
    """A file under several names: its own, a longer one, a link, a hard link, and a link to its folder."""
    monkeypatch.chdir(tmp_path)
    Path("data.csv").touch()
    Path("other.csv").touch()
    Path("soft").symlink_to("data.csv")
    Path("hard").hardlink_to("data.csv")
    Path("here").symlink_to(".")
    Path("dangling").symlink_to("new.npz")


@pytest.mark.parametrize("out", ["data.csv", "./data.csv", "soft", "hard", "here/data.csv", "here/soft"])
def test_an_output_that_is_an_input_is_refused_under_any_name(names, out):
    said = f"--out: {out} is the same file as data, data.csv, which would be overwritten"
    with pytest.raises(ValueError, match=said):
        check_apart([("--out", out)], [("--teacher", "other.csv"), ("data", "data.csv")])


@pytest.mark.parametrize("other", ["new.npz", "here/new.npz", "dangling"])
def test_two_outputs_that_are_one_new_file_are_refused(names, other):
    with pytest.raises(ValueError, match=f"--checkpoint: {other} is the same file as --out, new.npz"):
        check_apart([("--out", "new.npz"), ("--checkpoint", other)])


def test_files_that_differ_and_devices_that_do_not_are_let_through(names):
    check_apart([("--out", "new.npz"), ("--checkpoint", "other.npz")], [("data", "data.csv"), ("more", "data.csv")])
    check_apart([("--out", os.devnull), ("--figure", os.devnull)], [("data", os.devnull)])


def test_the_file_system_decides_whether_case_counts(names, monkeypatch):
    Path("Data.csv").touch()
    check_apart([("--out", "Data.csv")], [("data", "data.csv")])
    monkeypatch.setattr(os.path, "samefile", lambda one, other: one.lower() == other.lower())
    with pytest.raises(ValueError, match=r"Data\.csv is the same file as data"):
        check_apart([("--out", "Data.csv")], [("data", "data.csv")])


@pytest.mark.skipif(not os.path.exists("/dev/fd"), reason="has no /dev/fd")
def test_a_process_substitution_is_written_to():
    reading, writing = os.pipe()  # of which a shell gives the command the name /dev/fd/N
    with replacing(f"/dev/fd/{writing}") as stream:
        stream.write(b"all of it")
    assert os.read(reading, 100) == b"all of it"
    os.close(reading)
    os.close(writing)


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


NO_HOME = """
import os, pwd, runpy, sys

def getpwuid(uid):
    raise KeyError(uid)

pwd.getpwuid = getpwuid
os.environ.pop("HOME", None)
os.environ.pop("XDG_CACHE_HOME", None)
"""


def without_a_home(code, *arguments):
    """The result of a process whose user has no home directory."""
    command = [sys.executable, "-c", NO_HOME + code, *arguments]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_CACHE")}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


needs_passwd = pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="the cache folder is not in ~/.cache")


@needs_passwd
def test_without_a_home_directory_the_error_names_the_variable():
    result = without_a_home("from minidistill.support.files import cache_folder; cache_folder()")
    assert result.stderr.splitlines()[-1] == (
        "FileNotFoundError: there is no home directory for ~/.cache: set XDG_CACHE_HOME to a folder for caches"
    )


@needs_passwd
@pytest.mark.compiles
def test_without_a_home_directory_kernels_compile_after_one_warning_and_info_works():
    code = 'sys.argv[0] = "minidistill"; runpy.run_module("minidistill", run_name="__main__")'
    result = without_a_home(code, "info")
    assert result.returncode == 0, result.stderr
    assert "cache folder" in result.stdout
    assert result.stderr.count("warning") == 1
    assert "compiled in each process anew, which takes about a minute: there is no home directory" in result.stderr


@pytest.mark.compiles
def test_without_a_writable_cache_folder_one_warning_names_the_variable(tmp_path):
    file = tmp_path / "file"
    file.write_text("no folder can be made below a file")
    environment = {**os.environ, "XDG_CACHE_HOME": str(file), "NUMBA_CACHE_DIR": ""}
    command = [sys.executable, "-c", "import minidistill.kernels.cpu"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("Warning") == 1
    assert "cannot be written: set XDG_CACHE_HOME to another folder for caches" in result.stderr


@needs_passwd
def test_without_a_home_directory_a_download_names_the_variables():
    code = """
os.environ.pop("MINIDISTILL_DATA", None)
from minidistill.data.mnist import MNIST, _downloaded, is_at_hand
none_installed = MNIST._replace(installed=())
print(is_at_hand(none_installed))
_downloaded(none_installed, none_installed.files[2])
"""
    result = without_a_home(code)
    assert result.stdout == "False\n", result.stderr
    last = result.stderr.splitlines()[-1]
    assert last.startswith("OSError: ") and "XDG_CACHE_HOME" in last and "MINIDISTILL_DATA" in last


# ---------------------------------------------------------------------------------------------- files of strangers


def test_arrays_that_nobody_asked_for_are_not_read(tmp_path):
    np.savez_compressed(tmp_path / "f.npz", kind=np.array("sample"), a=np.ones(2), bomb=np.zeros(15_000_000))
    tracemalloc.start()
    read_npz(tmp_path / "f.npz", "sample", ("a",))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


def test_what_is_no_array_in_an_archive_is_passed_over(tmp_path):
    write_npz(tmp_path / "f.npz", "sample", ARRAYS)
    with zipfile.ZipFile(tmp_path / "f.npz", "a") as archive:
        archive.writestr("README", "no array")
        archive.writestr("kind", "nor this one")
    assert read_arrays(tmp_path / "f.npz").keys() == {"kind", *ARRAYS}
    assert read_npz(tmp_path / "f.npz", "sample", tuple(ARRAYS)).keys() == ARRAYS.keys()
    with pytest.raises(ValueError, match=r"it holds [^R]*$"):
        read_npz(tmp_path / "f.npz", "another", tuple(ARRAYS))


def test_names_in_a_file_neither_flood_nor_control_the_terminal(tmp_path):
    np.savez(tmp_path / "f.npz", **{"\x1b]0;title\x07" + "a" * 1000: np.ones(1)})
    with pytest.raises(ValueError, match="is not a sample of minidistill") as caught:
        read_npz(tmp_path / "f.npz", "sample", ("a",))
    text = str(caught.value).removeprefix(str(tmp_path))
    assert text.isprintable()
    assert 200 < len(text) < 300
