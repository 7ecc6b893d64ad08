# SPDX-License-Identifier: MIT
"""Each experiment runs from the command line, in its quick form, on the real images."""

import json
import os
import subprocess
import sys

import pytest

from minidistill.cli import main
from minidistill.data.mnist import FASHION_MNIST, MNIST, place_of
from minidistill.experiments.reproduce import NAMES, reproduce

IMAGES = {
    "hinton-mnist": [MNIST],
    "few-labels": [MNIST],
    "capacity": [FASHION_MNIST],
    "fidelity": [MNIST, FASHION_MNIST],
    "assistant": [FASHION_MNIST],
    "born-again": [FASHION_MNIST],
    "mutual": [FASHION_MNIST],
    "deploy": [],  # digits will do
}


@pytest.mark.compiles
@pytest.mark.one_width
@pytest.mark.parametrize("name", NAMES)
def test_the_quick_form_gives_every_claim_and_the_figure(name, tmp_path):
    missing = [images.folder for images in IMAGES[name] if place_of(images, None) is None]
    if missing:
        pytest.skip(f"neither MINIDISTILL_DATA nor a package of the system has {' and '.join(missing)}")
    figure = tmp_path / "figure.png"
    command = [sys.executable, "-m", "minidistill", "reproduce", name, "--quick", "--json", "--figure", str(figure)]
    environment = {**os.environ, "NUMBA_NUM_THREADS": "1"}  # two collapse where another process wants a core
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    found = json.loads(done.stdout)
    assert found["name"] == name
    assert found["settings"]["seeds"] == [0]
    ids = [claim["id"] for claim in found["claims"]]
    assert len(set(ids)) == len(ids)
    for claim in found["claims"]:
        assert set(claim) == {"id", "claim", "paper", "mean", "std", "values", "holds"}
        assert claim["values"]
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_an_unknown_name_is_refused(capsys):
    assert main(["reproduce", "alchemy"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("minidistill reproduce: error: name must be one of 'hinton-mnist'")


@pytest.mark.parametrize("seeds", [0, -1, 1.5])
def test_seeds_must_be_a_whole_number_from_1(seeds):
    with pytest.raises((ValueError, TypeError), match="seeds"):
        reproduce("few-labels", seeds=seeds)


def test_a_figure_that_cannot_be_written_is_refused_before_the_work(capsys):
    assert main(["reproduce", "few-labels", "--quick", "--figure", "nowhere/figure.png"]) == 2
    assert "--figure: cannot write nowhere/figure.png" in capsys.readouterr().err
