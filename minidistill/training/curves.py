# SPDX-License-Identifier: MIT
"""The figure of a training run: its loss and validation accuracy per epoch."""

import os
from typing import Any

from ..support.figures import new_figure, save, titled


def learning_curves(histories: Any, path: str | os.PathLike[str] | None = None) -> Any:
    """Loss and validation accuracy per epoch of a History, or of several in a dictionary by name."""
    runs = histories if isinstance(histories, dict) else {"": histories}
    figure, axes = new_figure(columns=2)
    for name, history in runs.items():
        epochs = history.column("epoch")
        (line,) = axes[0, 0].plot(epochs, history.column("loss"), label=f"{name} training".strip())
        colour = line.get_color()
        validation = history.column("validation_loss")
        axes[0, 0].plot(epochs, validation, "--", color=colour, label=f"{name} validation".strip())
        axes[0, 1].plot(epochs, 100 * history.column("validation_accuracy"), color=colour, label=name)
    titled(axes[0, 0], "Loss", xlabel="epoch", yscale="log")
    titled(axes[0, 1], "Validation accuracy", xlabel="epoch", ylabel="%")
    axes[0, 0].legend(frameon=False)
    return save(figure, path)
