# SPDX-License-Identifier: MIT
"""Downloads: only what is right to the last byte counts, and what has arrived is never asked for twice."""

import gzip
import hashlib
import os
import re
import signal
import subprocess
import sys
import time
import tracemalloc

import numpy as np
import pytest
from mirror import Mirror

from minidistill.data import download
from minidistill.data.download import PublishedFile, checked_content, fetched, places
from minidistill.support.locks import locked

CONTENT = np.random.default_rng(0).bytes(300_000)  # more than a chunk; and what is random cannot be compressed
FILE = PublishedFile("a test", "train-images-idx3-ubyte", len(CONTENT), hashlib.sha256(CONTENT).hexdigest())
NAME = f"{FILE.name}.gz"
PACKED = gzip.compress(CONTENT, mtime=0)
OTHER = gzip.compress(b"!" + CONTENT[1:], mtime=0)
RIGHT = {NAME: PACKED}

PROGRAM = """
import hashlib, sys
from minidistill.data.download import PublishedFile, fetched

name, size, sha256, folder, url = sys.argv[1:]
print("begin", flush=True)
content = fetched(PublishedFile("a test", name, int(size), sha256), folder, (url,))
print(hashlib.sha256(content).hexdigest())
"""


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache" / "test"  # is not there yet


def fetch(folder, *mirrors, timeout=10.0):
    return fetched(FILE, str(folder), tuple(mirror.url for mirror in mirrors), timeout)


def files_in(folder):
    return set(os.listdir(folder)) - {f".{NAME}.lock"}


def leave_part(folder, content):
    folder.mkdir(parents=True)
    (folder / f"{NAME}.part").write_bytes(content)


def failure(folder, *mirrors, **options):
    """What the one error says when no mirror can serve; whatever went wrong, nothing passes for the file."""
    with pytest.raises(OSError, match=f"^cannot download {NAME} of a test to ") as caught:
        fetch(folder, *mirrors, **options)
    assert str(folder) in str(caught.value)
    assert not (folder / NAME).exists()
    return str(caught.value)


# ---------------------------------------------------------------------------------------------- a file that is there


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzipped"])
def test_a_right_file_is_read_gzipped_or_not(tmp_path, pack):
    path = tmp_path / "file"
    path.write_bytes(pack(CONTENT))
    assert checked_content(str(path), FILE) == CONTENT


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzipped"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (CONTENT[:-1], "wanted 300000 bytes, unpacked, got 299999"),
        (CONTENT + b"!", "wanted 300000 bytes, unpacked, got more"),
        (b"", "wanted 300000 bytes, unpacked, got 0"),
        (CONTENT[:-1] + b"!", f"with SHA-256 {FILE.sha256}, got "),
    ],
    ids=["short", "long", "empty", "altered"],
)
def test_a_wrong_file_is_named_and_told_from_the_right_one(tmp_path, pack, content, said):
    path = tmp_path / "file"
    path.write_bytes(pack(content))
    with pytest.raises(ValueError, match="train-images-idx3-ubyte of a test as published") as caught:
        checked_content(str(path), FILE)
    assert str(path) in str(caught.value)
    assert said in str(caught.value)


def test_a_gzip_cut_short_is_named(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(PACKED[:-100])
    with pytest.raises(ValueError, match="file is damaged or cut short"):
        checked_content(str(path), FILE)


def test_a_gzip_that_unpacks_to_the_moon_costs_no_memory(tmp_path):
    path = tmp_path / "bomb"
    path.write_bytes(gzip.compress(bytes(50_000_000)))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="unpacked, got more"):
            checked_content(str(path), FILE)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5_000_000


@pytest.mark.parametrize("name", ["t-idx3-ubyte", "t-idx3-ubyte.gz", "t.idx3-ubyte", "t.idx3-ubyte.gz"])
def test_each_of_the_usual_spellings_of_a_name_is_known(name):
    assert os.path.join("folder", name) in places("folder", "t-idx3-ubyte")


# ---------------------------------------------------------------------------------------------- all is well


def test_a_file_is_downloaded_once(folder):
    with Mirror(RIGHT) as mirror:
        assert fetch(folder, mirror) == CONTENT
        assert fetch(folder, mirror) == CONTENT
    assert mirror.ranges == [None]
    assert files_in(folder) == {NAME}
    assert (folder / NAME).read_bytes() == PACKED


def test_a_file_put_there_by_hand_is_not_downloaded(folder):
    folder.mkdir(parents=True)
    (folder / "train-images.idx3-ubyte").write_bytes(CONTENT)
    with Mirror(RIGHT) as mirror:
        assert fetch(folder, mirror) == CONTENT
    assert mirror.ranges == []


def test_a_damaged_file_is_replaced(folder):
    folder.mkdir(parents=True)
    (folder / NAME).write_bytes(OTHER)
    with Mirror(RIGHT) as mirror:
        assert fetch(folder, mirror) == CONTENT
    assert (folder / NAME).read_bytes() == PACKED


def test_a_mirror_may_unpack_on_its_way(folder):
    with Mirror({NAME: CONTENT}) as mirror:
        assert fetch(folder, mirror) == CONTENT


def test_a_mirror_need_not_say_how_much_it_sends(folder):
    with Mirror(RIGHT, says_length=False) as mirror:
        assert fetch(folder, mirror) == CONTENT


# ---------------------------------------------------------------------------------------------- breaks


def test_after_each_break_the_rest_is_asked_for(folder):
    with Mirror(RIGHT, breaks=[100_000, 1000, 50_000]) as mirror:
        assert fetch(folder, mirror) == CONTENT
    assert mirror.ranges == [None, "bytes=100000-", "bytes=101000-", "bytes=151000-"]
    assert files_in(folder) == {NAME}


def test_the_next_mirror_goes_on_where_one_has_failed(folder):
    with Mirror(RIGHT, breaks=[1000, 0]) as first, Mirror(RIGHT) as second:
        assert fetch(folder, first, second) == CONTENT
    assert second.ranges == ["bytes=1000-"]


def test_the_next_call_goes_on_where_one_has_failed(folder):
    with Mirror(RIGHT, breaks=[1000, 0]) as mirror:
        assert f"{mirror.url}{NAME}: broken off after 1000 of {len(PACKED)} bytes" in failure(folder, mirror)
        assert (folder / f"{NAME}.part").read_bytes() == PACKED[:1000]
        assert fetch(folder, mirror) == CONTENT
    assert mirror.ranges[2:] == ["bytes=1000-"]


def test_a_break_that_no_length_tells_of_is_found(folder):
    with Mirror(RIGHT, breaks=[1000], says_length=False) as mirror:
        assert "damaged or cut short" in failure(folder, mirror)
        assert fetch(folder, mirror) == CONTENT


def test_a_pause_too_long_is_a_break(folder):
    with Mirror(RIGHT, stalls=[1000, 0]) as first, Mirror(RIGHT) as second:
        assert fetch(folder, first, second, timeout=0.2) == CONTENT
    assert first.ranges == [None, "bytes=1000-"]
    assert second.ranges == ["bytes=1000-"]


def test_a_server_that_is_silent_from_the_start_is_given_up(folder):
    with Mirror(RIGHT, stalls=[0]) as mirror:
        assert "timed out" in failure(folder, mirror, timeout=0.2)


@pytest.mark.parametrize(
    "faults",
    [{"ignores_range": True}, {"shifted": True}, {"statuses": [416]}],
    ids=["ignores the range", "sends another part", "has no such part"],
)
def test_where_a_server_cannot_go_on_the_file_is_fetched_anew(folder, faults):
    leave_part(folder, PACKED[:1000])
    with Mirror(RIGHT, **faults) as mirror:
        assert fetch(folder, mirror) == CONTENT
    assert mirror.ranges[0] == "bytes=1000-"
    assert mirror.ranges[1:] in ([], [None])


def test_a_part_of_what_the_file_once_was_is_dropped(folder):
    leave_part(folder, OTHER[:-1000])
    with Mirror(RIGHT) as mirror:
        assert fetch(folder, mirror) == CONTENT
    assert mirror.ranges == [f"bytes={len(OTHER) - 1000}-", None]


def test_a_part_longer_than_the_file_is_dropped(folder):
    leave_part(folder, PACKED + b"!")
    with Mirror(RIGHT) as mirror:
        assert fetch(folder, mirror) == CONTENT
    assert mirror.ranges == [f"bytes={len(PACKED) + 1}-", None]


def test_a_server_that_breaks_off_at_the_same_place_for_ever_is_given_up(folder):
    with Mirror(RIGHT, breaks=[1000] * 100, ignores_range=True) as mirror:
        assert "broken off after 1000 of" in failure(folder, mirror)
    assert len(mirror.ranges) == 2


def test_a_server_that_breaks_off_and_lies_for_ever_is_given_up(folder):
    with Mirror({NAME: OTHER}, breaks=[1000, None] * 100) as mirror:
        assert "with SHA-256" in failure(folder, mirror)
    assert len(mirror.ranges) == 4


# ---------------------------------------------------------------------------------------------- wrong answers


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (OTHER, "with SHA-256"),
        (gzip.compress(CONTENT[:-1]), "got 299999"),
        (PACKED[:-100], "damaged or cut short"),
        (b"<html>Sign in to this network</html>", "got 36"),
        (b"", "got 0"),
        (gzip.compress(bytes(100_000_000), 1), "bytes are offered, and at most 304000 are plausible"),
        (gzip.compress(bytes(10_000_000), 9), "wanted 300000 bytes, unpacked, got more"),
    ],
    ids=["altered", "short", "cut", "a page", "nothing", "huge", "a bomb"],
)
def test_a_wrong_answer_is_refused_and_the_next_mirror_asked_from_the_start(folder, answer, said):
    with Mirror({NAME: answer}) as wrong, Mirror(RIGHT) as right:
        assert said in failure(folder, wrong)
        assert files_in(folder) == set()
        assert fetch(folder, wrong, right) == CONTENT
    assert right.ranges == [None]


def test_an_endless_answer_is_cut_off(folder):
    with Mirror({NAME: bytes(10_000_000)}, says_length=False) as mirror:
        assert "more came than the 304000 bytes that are plausible" in failure(folder, mirror)
    assert files_in(folder) == set()


def test_one_error_names_each_mirror_and_what_was_wrong_with_it(folder):
    with Mirror({}) as gone:
        pass  # nobody listens there any longer
    with Mirror({}) as lacking, Mirror(RIGHT, statuses=[503]) as busy, Mirror({NAME: OTHER}) as lying:
        message = failure(folder, gone, lacking, busy, lying)
    assert f"{gone.url}{NAME}: [Errno " in message
    assert f"{lacking.url}{NAME}: HTTP Error 404: Not Found" in message
    assert f"{busy.url}{NAME}: HTTP Error 503: Service Unavailable" in message
    assert f"{lying.url}{NAME}: " in message
    assert "<urlopen" not in message
    assert "\n" not in message


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with Mirror(RIGHT) as mirror:
        assert "[Errno " in failure(tmp_path / "file" / "cache", mirror)
    assert mirror.ranges == []


# ---------------------------------------------------------------------------------------------- several processes


def start(folder, mirror):
    """A process that downloads, and is about to ask the mirror."""
    arguments = (FILE.name, str(FILE.size), FILE.sha256, str(folder), mirror.url)
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, *arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "begin\n"
    return process


def test_of_two_processes_one_downloads_and_the_other_waits(folder):
    with Mirror(RIGHT, stalls=[1000]) as mirror:
        first = start(folder, mirror)
        assert mirror.asked.acquire(timeout=60)
        second = start(folder, mirror)
        assert not mirror.asked.acquire(timeout=0.3)  # a second request would come at once
        mirror.release()
        for process in first, second:
            assert process.communicate(timeout=60)[0].strip() == FILE.sha256
    assert mirror.ranges == [None]
    assert files_in(folder) == {NAME}


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL])
def test_a_process_that_is_stopped_leaves_a_part_to_go_on_from_and_no_lock(folder, sign):
    part = folder / f"{NAME}.part"
    with Mirror(RIGHT, stalls=[1000]) as mirror:
        process = start(folder, mirror)
        deadline = time.monotonic() + 60
        while not (part.exists() and part.stat().st_size == 1000):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(sign)
        process.communicate(timeout=60)
        assert process.returncode == -sign
        assert files_in(folder) == {part.name}
        assert fetch(folder, mirror) == CONTENT
    assert mirror.ranges == [None, "bytes=1000-"]


def test_a_wait_for_another_process_is_announced_and_ends(folder, monkeypatch):
    monkeypatch.setattr(download, "WAIT", 0.2)
    folder.mkdir(parents=True)
    with Mirror(RIGHT) as mirror, locked(folder / NAME):
        with pytest.warns(UserWarning, match=f"another process downloads .*{NAME}: waiting") as warned:
            said = failure(folder, mirror)
        assert "in use by another process" in said
        assert warned[0].filename == __file__
        assert mirror.ranges == []


# ---------------------------------------------------------------------------------------------- slow mirrors


def test_a_mirror_that_sends_one_byte_per_connection_is_given_up(folder):
    with Mirror(RIGHT, breaks=[1] * 1000) as dripping, Mirror(RIGHT) as sound:
        assert fetch(folder, dripping, sound) == CONTENT
    assert len(dripping.ranges) == download.MOST_REQUESTS


def test_a_mirror_slower_than_a_limit_is_given_up_after_the_timeout(folder):
    with Mirror(RIGHT, pause=0.2) as slow:  # 500 bytes in a second
        assert re.search(r"too slow: \d+ bytes in \d s", failure(folder, slow, timeout=0.5))


# ---------------------------------------------------------------------------------------------- the bar


@pytest.mark.parametrize("terminal", [True, False])
def test_a_bar_is_shown_on_a_terminal_only(folder, monkeypatch, capsys, terminal):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    leave_part(folder, PACKED[:100_000])
    with Mirror(RIGHT) as mirror:
        fetch(folder, mirror)
    said = capsys.readouterr()
    assert said.out == ""
    assert (FILE.name in said.err) == terminal
    assert ("33%" in said.err) == terminal  # it begins with what was there
