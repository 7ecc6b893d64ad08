# SPDX-License-Identifier: MIT
"""The commands export and import."""

import json
import os

import numpy as np
import pytest

from minidistill import MLP, quantize
from minidistill.cli import main
from minidistill.export import c_source


@pytest.mark.parametrize("suffix", ["onnx", "safetensors", "pt"])
def test_a_network_goes_out_and_comes_in_again(suffix, teacher, table, capsys):
    pytest.importorskip({"pt": "torch"}.get(suffix, suffix))
    assert main(["export", teacher, "--out", f"net.{suffix}", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["format"], said["bytes"]) == (suffix, os.path.getsize(f"net.{suffix}"))
    more = ["--activation", "relu"] if suffix == "pt" else []
    assert main(["import", f"net.{suffix}", "--out", "back.npz", *more]) == 0
    assert "saved back.npz (" in capsys.readouterr().out
    np.testing.assert_array_equal(MLP.load("back.npz").parameters, MLP.load(teacher).parameters)
    assert main(["evaluate", "back.npz", table, "--teacher", teacher]) == 0


def test_a_network_becomes_a_c_file_of_any_name(teacher, folder, capsys):
    assert main(["export", teacher, "--out", "clouds.txt", "--format", "c", "--name", "clouds"]) == 0
    assert "int clouds_predict(const float x[2], float logits[2])" in (folder / "clouds.txt").read_text()


def test_an_integer_network_becomes_a_c_file_and_no_other(teacher, folder, capsys, refusal):
    integers = quantize(MLP.load(teacher), np.eye(2))
    integers.save("integers.npz")
    with pytest.warns(UserWarning, match="its inputs differ too much in scale"):
        quantize(MLP.load(teacher)).save("measured.npz")
    assert main(["export", "integers.npz", "--out", "clouds.c"]) == 0
    assert "QuantizedMLP(2-" in capsys.readouterr().out
    assert (folder / "clouds.c").read_text() == c_source(integers)
    assert "got a QuantizedMLP, which becomes C only" in refusal("export", "integers.npz", "--out", "x.onnx")
    assert "network must be calibrated to become C" in refusal("export", "measured.npz", "--out", "x.c")
    assert not (folder / "x.c").exists()


def test_weights_are_rounded_on_import_where_that_is_asked_for(folder, capsys):
    pytest.importorskip("safetensors")
    MLP((2, 2), dtype="float64").save("double.npz")
    assert main(["export", "double.npz", "--out", "double.safetensors"]) == 0
    for dtype, more in (("float64", []), ("float32", ["--dtype", "float32"])):
        assert main(["import", "double.safetensors", "--out", "back.npz", *more]) == 0
        assert MLP.load("back.npz").dtype == dtype
