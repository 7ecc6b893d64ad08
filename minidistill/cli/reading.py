# SPDX-License-Identifier: MIT
"""What commands read: their files, checked before any work, as datasets, networks and teachers."""

import argparse
import os
from typing import TYPE_CHECKING, Any

from .printing import error_prefix

if TYPE_CHECKING:
    from ..data import Dataset
    from ..deployment.quantization import QuantizedMLP
    from ..network import MLP

DATA_WORDS = ("digits", "mnist", "fashion-mnist")
FIGURES = ("", ".png", ".svg", ".pdf")
# {argument that holds paths: its name in errors}, of networks and tables that are read and of files that are written.
# Existing files of the last three outputs are read as well.
NETWORKS = {"model": "model", "student": "student", "file": "file", "teacher": "--teacher"}
TABLES = {"data": "data", "batches": "batch", "reference": "--reference"}
OUTPUTS = {name: f"--{name}" for name in ("out", "figure", "checkpoint", "results", "state")}


def check_files(options: argparse.Namespace) -> None:
    """Refuses, before anything is read or written, files that are missing, and outputs that would overwrite others."""
    from ..support.files import check_apart, check_place

    networks, tables, outputs = (_named_paths(options, names) for names in (NETWORKS, TABLES, OUTPUTS))
    for name, path in networks + tables:
        if not os.path.exists(path):
            raise FileNotFoundError(f"{name}: no such file: {path}")
        if os.path.isdir(path):
            raise IsADirectoryError(f"{name}: expected a file, got a folder: {path}")
    replaced = [(name, path) for name, path in outputs if name not in ("--out", "--figure") and os.path.exists(path)]
    for name, path in outputs:
        check_place(name, path)
        if name == "--figure" and os.path.splitext(path)[1].lower() not in FIGURES:
            raise ValueError(f"{name}: must end in .png, .svg or .pdf, got {path}")
    for name, path in networks + replaced:
        if not os.path.isfile(path):
            raise ValueError(f"{name}: expected a regular file, got a pipe or a device: {path}")
    check_apart(outputs, networks + tables)


def _named_paths(options: argparse.Namespace, names: dict[str, str]) -> list[tuple[str, Any]]:
    """The paths that the command was given for these arguments, each with the name that errors give to it."""
    given = [(name, getattr(options, argument, None)) for argument, name in names.items()]
    listed = [(name, path) for name, value in given for path in (value if isinstance(value, list) else [value])]
    no_files = (None, *DATA_WORDS) if names is TABLES else (None,)
    return [(name, path) for name, path in listed if path not in no_files and (name, path) != ("--figure", "")]


def read_data(
    option: str, path: str, label: str | int | None, models: dict[str, Any] | None = None
) -> tuple["Dataset", "Dataset"]:
    """Data to train on and to test on, in float32. A file serves as both; the sets of DATA_WORDS have two parts.

    option  the name of the argument in errors
    models  {option: network, or a list of them} that must take rows of as many columns
    """
    import numpy as np

    from .. import data as data_sets
    from ..support.checks import check_rows

    if path in DATA_WORDS:
        training, test = getattr(data_sets, path.replace("-", "_"))()
    else:
        with error_prefix(option):
            data = data_sets.load_table(path, label)
            training = test = data_sets.Dataset(check_rows(f"x of {path}", data.x, dtype=np.float32), data.y)
    columns = test.x.shape[1]
    for other, model in (models or {}).items():
        for network in model if isinstance(model, list) else [model]:
            if network.sizes[0] != columns:
                hint = "; if the last one is the label, pass --label -1" if label is None else ""
                raise ValueError(f"{option}: {path} has {columns} columns, and {other} takes {network.sizes[0]}{hint}")
    return training, test


def read_teachers(paths: list[str]) -> list["MLP"]:
    """Networks with the same number of classes."""
    from ..network import MLP

    with error_prefix("--teacher"):
        networks = [MLP.load(path) for path in paths]
        classes = {network.sizes[-1] for network in networks}
        if len(classes) > 1:
            raise ValueError(f"teachers must have the same number of classes, got {sorted(classes)}")
    return networks


def as_one(networks: list["MLP"]) -> Any:
    """The teacher: a single network, or the list that is an ensemble."""
    return networks[0] if len(networks) == 1 else networks


def read_network(option: str, path: str) -> "MLP | QuantizedMLP":
    """A network of floats or a quantized one."""
    from ..deployment.quantization import QuantizedMLP
    from ..deployment.quantization.network import KIND
    from ..network import MLP
    from ..support.files import read_arrays

    with error_prefix(option):
        return QuantizedMLP.load(path) if str(read_arrays(path, ("kind",)).get("kind")) == KIND else MLP.load(path)
