# SPDX-License-Identifier: MIT
"""Networks on their way out and in: to where they run, and from where others were trained. The rooms:

    c.py            to_c(): one C99 file with weights and a predict function, for where there is no Python
    onnx.py         to_onnx(), from_onnx(): the format of ONNX Runtime and its like
    safetensors.py  to_safetensors(), from_safetensors(): arrays and nothing that could run
    torch.py        to_state_dict(), to_pt(), from_torch(), from_pt(): PyTorch's Sequential
    sklearn.py      from_sklearn(): an MLPClassifier
    layers.py       what all readers share: layers one after the other become an MLP, or are refused with a reason

Each function is imported when it is first asked for, and the library that it needs when it is called.
docs/guides/export.md says what each format keeps.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

ON_DEMAND = {
    "c": ("c_source", "to_c"),
    "onnx": ("from_onnx", "to_onnx"),
    "safetensors": ("from_safetensors", "to_safetensors"),
    "sklearn": ("from_sklearn",),
    "torch": ("from_pt", "from_torch", "to_pt", "to_state_dict"),
}  # file: names

if TYPE_CHECKING:
    from .c import c_source, to_c
    from .onnx import from_onnx, to_onnx
    from .safetensors import from_safetensors, to_safetensors
    from .sklearn import from_sklearn
    from .torch import from_pt, from_torch, to_pt, to_state_dict
else:

    def __getattr__(name: str) -> Any:
        for file, names in ON_DEMAND.items():
            if name in names:
                return getattr(import_module(f".{file}", __name__), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "c_source", "from_onnx", "from_pt", "from_safetensors", "from_sklearn", "from_torch",
    "to_c", "to_onnx", "to_pt", "to_safetensors", "to_state_dict",
]  # fmt: skip
