# SPDX-License-Identifier: MIT
"""PyTorch: a Sequential and our network give the same logits, whichever of them was there first."""

import collections
import io
import itertools
import re
import sys
import tracemalloc
import zipfile

import numpy as np
import pytest
from rounding import assert_logits, assert_probabilities

from minidistill import MLP
from minidistill.export import from_onnx, from_pt, from_safetensors, from_torch, to_pt, to_safetensors, to_state_dict
from minidistill.support import files
from minidistill.support.text import brief_errors

torch = pytest.importorskip("torch")
nn = torch.nn

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": lambda: nn.GELU(approximate="tanh")}


def rows(columns=5, dtype=np.float32):
    return np.random.default_rng(2).standard_normal((9, columns)).astype(dtype)


def sequential(activation="relu", sizes=(5, 7, 6, 3)):
    torch.manual_seed(0)
    modules = []
    for inputs, outputs in itertools.pairwise(sizes):
        modules += [nn.Linear(inputs, outputs), ACTIVATIONS[activation]()]
    return nn.Sequential(*modules[:-1]).eval()


def theirs(model, x):
    with torch.no_grad():
        return model(torch.from_numpy(x)).numpy()


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("sizes", [(5, 3), (5, 7, 6, 3)], ids=str)
def test_a_sequential_takes_our_state_dict_and_gives_our_logits(activation, sizes):
    net = MLP(sizes, activation)
    for b in net.biases:
        b[:] = np.random.default_rng(1).standard_normal(b.shape)
    model = sequential(activation, sizes)
    model.load_state_dict(to_state_dict(net))
    assert_logits(theirs(model, rows()), net, rows())


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_sequential_becomes_a_network_of_the_same_logits(activation):
    model = sequential(activation)
    net = from_torch(model)
    assert (net.sizes, net.activation, net.dtype) == ((5, 7, 6, 3), activation, np.float32)
    assert_logits(theirs(model, rows()), net, rows())


def test_float64_is_kept_both_ways():
    model, x = sequential("tanh").double(), rows(dtype=np.float64)
    net = from_torch(model)
    assert net.dtype == np.float64
    assert_logits(theirs(model, x), net, x)
    assert to_state_dict(net)["0.weight"].dtype == torch.float64
    assert from_torch(model, dtype="float32").dtype == np.float32


def test_weights_are_copies_both_ways():
    model = sequential()
    net = from_torch(model)
    net.parameters[:] = 0
    assert model[0].weight.abs().max() > 0
    to_state_dict(net)["0.weight"].fill_(1)
    assert net.parameters.max() == 0


def test_what_leaves_rows_as_they_are_is_passed_over_and_dropout_becomes_the_networks():
    act = nn.ReLU()  # stands there twice
    inner = nn.Sequential(nn.Linear(7, 6, bias=False), act)
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.2), nn.Linear(5, 7), nn.Identity(), act, nn.Dropout(0.5), inner,
                          nn.Linear(6, 3), nn.Softmax(dim=1)).eval()  # fmt: skip
    net = from_torch(model)
    assert (net.sizes, net.dropout) == ((5, 7, 6, 3), (0.2, 0.5, 0))
    assert_probabilities(theirs(model, rows()), net, rows())


def test_a_sigmoid_at_the_end_becomes_two_logits():
    model = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 1), nn.Sigmoid())
    expected = theirs(model, rows())
    assert_probabilities(np.hstack([1 - expected, expected]), from_torch(model), rows())


def test_a_subclass_that_only_lists_its_layers_is_a_sequential():
    class Net(nn.Sequential):
        def __init__(self):
            super().__init__(collections.OrderedDict(first=nn.Linear(5, 4), act=nn.ReLU(), last=nn.Linear(4, 3)))

    model = Net()
    assert_logits(theirs(model, rows()), from_torch(model), rows())


class Doubled(nn.Sequential):
    def forward(self, x):
        return 2 * super().forward(x)


class DoubledLinear(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


def hooked(find):
    """A model of which some module has a hook."""
    model = nn.Sequential(nn.Sequential(nn.Linear(5, 3)))
    find(model).register_forward_hook(lambda module, inputs, output: 2 * output)
    return model


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (nn.Sequential(nn.Linear(5, 4), nn.SiLU(), nn.Linear(4, 3)), "module 1 (SiLU) is no part of an MLP"),
        (nn.Sequential(nn.Linear(5, 4), nn.GELU(), nn.Linear(4, 3)), 'module 1 (GELU) must have approximate="tanh"'),
        (nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 3)), "module 1 (BatchNorm1d) is no part"),
        (nn.Sequential(nn.Linear(5, 4), nn.Sequential(nn.Conv1d(4, 3, 1))), "module 1.0 (Conv1d) is no part"),
        (nn.Sequential(DoubledLinear(5, 3)), "module 0 (DoubledLinear) is no part"),
        (nn.Sequential(nn.Linear(5, 4), Doubled(nn.Linear(4, 3))), "module 1 (Doubled) is no part"),
        (nn.Sequential(nn.Linear(5, 3), nn.Softmax(dim=0)), "module 1 (Softmax) is no part"),
        (nn.Sequential(nn.Linear(5, 3), nn.Softmax(dim=1), nn.ReLU()), "(ReLU) stands behind module 1 (Softmax)"),
        (nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 3)),
         "mixes activations, where an MLP has one: relu (module 1 (ReLU)) and tanh (module 3 (Tanh))"),
        (nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 3)), "no activation between module 0 (Linear) and module 1"),
        (nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(9, 3)), "gives 4 numbers, but module 2 (Linear) takes 9"),
        (nn.Sequential(nn.Linear(5, 1)), "module 0 (Linear) gives a single number"),
        (nn.Sequential(nn.Linear(5, 3)).half(), "module 0 (Linear) must be a dense tensor of float32 or float64"),
        (nn.Sequential(nn.Linear(5, 3, device="meta")), "module 0 (Linear) must be a dense tensor"),
        (nn.Sequential(), " has no linear layer"),
        (hooked(lambda model: model[0][0]), "module 0.0 (Linear) has hooks, which may change what it computes"),
        (hooked(lambda model: model[0]), "its part 0 has hooks"),
        (hooked(lambda model: model), "it has hooks"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_what_is_no_mlp_is_refused_with_the_name_of_the_module(model, said):
    with pytest.raises(ValueError, match=f"^model.*{re.escape(said)}"):
        from_torch(model)


def test_weights_that_are_not_finite_are_refused_both_ways():
    model = sequential()
    model[2].weight.data[1, 3] = np.nan
    with pytest.raises(ValueError, match=re.escape("model: the weights of module 2 (Linear) must be finite, got nan")):
        from_torch(model)
    with pytest.raises(ValueError, match="model: the weights of layer 2 must be finite, got nan at row 3, column 1"):
        from_torch(model.state_dict(), "relu")
    net = MLP((3, 2))
    net.parameters[0] = np.inf
    with pytest.raises(ValueError, match="parameters must be finite, got inf"):
        to_state_dict(net)


def test_another_model_is_refused():
    for model in (nn.Linear(5, 3), Doubled(nn.Linear(5, 3)), MLP((5, 3)), None):
        with pytest.raises(TypeError, match=r"model must be an nn\.Sequential or a state_dict, got "):
            from_torch(model)
    with pytest.raises(ValueError, match="activation is for a state_dict: .* got 'relu'"):
        from_torch(sequential(), "relu")


# ---------------------------------------------------------------------------------------------- state_dicts and files


def test_a_state_dict_needs_its_activation_and_is_then_the_same_network():
    model = sequential("tanh")
    net = from_torch(model.state_dict(), "tanh")
    assert_logits(theirs(model, rows()), net, rows())
    with pytest.raises(ValueError, match="model does not say the activation of its hidden layers"):
        from_torch(model.state_dict())
    with pytest.raises(ValueError, match=r"model: 0\.weight must be a tensor, got a list"):
        from_torch({"0.weight": [[1.0]]})
    with pytest.raises(ValueError, match="model: 3 is no numbered linear layer's"):
        from_torch({3: torch.ones(2, 2)})


def test_a_pt_file_goes_out_and_in_and_torch_reads_it(tmp_path):
    net = MLP((5, 7, 3), "gelu")
    to_pt(net, tmp_path / "net.pt")
    np.testing.assert_array_equal(from_pt(tmp_path / "net.pt", "gelu").parameters, net.parameters)
    model = sequential("gelu", (5, 7, 3))
    model.load_state_dict(torch.load(tmp_path / "net.pt", weights_only=True))
    assert_logits(theirs(model, rows()), net, rows())


def test_a_safetensors_file_and_torch_agree(tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    model = sequential("tanh")
    safetensors.save_file(model.state_dict(), tmp_path / "theirs.safetensors")
    assert_logits(theirs(model, rows()), from_safetensors(tmp_path / "theirs.safetensors", "tanh"), rows())
    to_safetensors(MLP((5, 7, 6, 3), "tanh", seed=1), tmp_path / "ours.safetensors")
    model.load_state_dict(safetensors.load_file(tmp_path / "ours.safetensors"))
    assert_logits(theirs(model, rows()), MLP((5, 7, 6, 3), "tanh", seed=1), rows())


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_onnx_file_of_torch_is_read(tmp_path, activation):
    pytest.importorskip("onnx")
    model, path = sequential(activation), tmp_path / "torch.onnx"
    names = {"input_names": ["x"], "dynamic_axes": {"x": {0: "N"}}}
    torch.onnx.export(model, torch.zeros(1, 5), path, dynamo=False, verbose=False, **names)
    assert_logits(theirs(model, rows()), from_onnx(path), rows())


def saved(content):
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (saved(nn.Linear(5, 3)), "is not a state_dict of PyTorch, or is damaged: "),
        (saved(MLP((5, 7, 3)).parameters), "is not a state_dict of PyTorch, or is damaged: "),
        (saved([1, 2]), "must hold a state_dict, it holds a list"),
        (saved({"0.weight": 3}), "0.weight must be a tensor, got a int"),
        (saved({"0.weight": torch.ones(2, 3, dtype=torch.bfloat16)}), "0.weight must be a dense tensor"),
        (saved({"conv.weight": torch.ones(2, 3)}), "'conv.weight' is no numbered linear layer's"),
        (saved(MLP)[:100], "or is damaged: "),
        (b"", "or is damaged: "),
        (b"nonsense" * 1000, "or is damaged: "),
        (bytes(10**6), "or is damaged: "),
    ],
    ids=range(10),
)
def test_a_file_without_a_state_dict_is_refused(tmp_path, content, said):
    path = tmp_path / "net.pt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=re.escape(said)) as caught:
        from_pt(path, "relu")
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_cut_at_any_byte_a_file_is_refused(tmp_path):
    content, path = saved(to_state_dict(MLP((2, 2)))), tmp_path / "cut.pt"
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match="or is damaged"):
            from_pt(path)


def repacked(content, compression=zipfile.ZIP_STORED, change=lambda name, entry: entry):
    """The same zip archive, with right checksums, compressed or with changed entries."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(stream, "w", compression) as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return stream.getvalue()


def test_a_small_file_that_claims_large_weights_is_refused_before_they_take_memory(tmp_path, monkeypatch):
    path = tmp_path / "bomb.pt"
    monkeypatch.setattr(files, "UNPACKED_FREELY", 2**20)
    wide = torch.zeros(1).expand(2, 10**8)  # strides of 0: one number in the file, 800 MB as an array
    zeros = saved({"0.weight": torch.zeros(2, 10**7)})
    for content in (saved({"0.weight": wide}), repacked(zeros, zipfile.ZIP_DEFLATED)):
        path.write_bytes(content)
        tracemalloc.start()  # which sees what NumPy and Python allocate
        with pytest.raises(ValueError, match=r"bomb\.pt .*claims [\d,]+ bytes of arrays in a file of"):
            from_pt(path)
        assert tracemalloc.get_traced_memory()[1] < 2**22
        tracemalloc.stop()


def test_no_damaged_byte_of_the_pickle_is_more_than_a_refusal(tmp_path):
    random = np.random.default_rng(0)

    def damaged(name, entry):
        if not name.endswith("data.pkl"):
            return entry
        place = random.integers(len(entry))
        return entry[:place] + bytes([random.integers(256)]) + entry[place + 1 :]

    content, path, refused = saved(to_state_dict(MLP((3, 2)))), tmp_path / "damaged.pt", 0
    for _ in range(300):
        path.write_bytes(repacked(content, change=damaged))
        try:
            from_pt(path)
        except ValueError:
            refused += 1
    assert refused > 200


def test_nothing_in_a_file_is_run(tmp_path, capsys):
    class Trap:
        def __reduce__(self):
            return print, ("sprung",)

    (tmp_path / "trap.pt").write_bytes(saved({"0.weight": Trap()}))
    with pytest.raises(ValueError, match="or is damaged"):
        from_pt(tmp_path / "trap.pt")
    assert capsys.readouterr().out == ""


def test_without_torch_it_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    for call in (lambda: to_pt(MLP((3, 2)), tmp_path / "x"), lambda: from_torch({}), lambda: from_pt(tmp_path / "x")):
        with pytest.raises(ImportError, match="needs torch: pip install torch"):
            call()
    assert list(tmp_path.iterdir()) == []


def test_two_names_for_one_layer_are_refused():
    weights = {"0.weight": torch.ones(3, 2), "1.weight": torch.ones(2, 3), "01.weight": torch.zeros(2, 3)}
    with pytest.raises(ValueError, match="two arrays for the weight of layer 1, one is '01.weight'"):
        from_torch(weights, activation="relu")


def test_an_error_about_a_file_is_short_and_controls_no_terminal(tmp_path):
    torch.save({"\x1b]0;title\x07" + "a" * 10_000: torch.ones(2, 2)}, tmp_path / "m.pt")
    with pytest.raises(ValueError, match="is no numbered linear layer's|m.pt") as caught:
        from_pt(tmp_path / "m.pt", activation="relu")
    text = str(caught.value)
    assert text.isprintable()
    assert len(text) <= 510


def test_an_error_that_has_no_text_of_its_own_becomes_a_value_error():
    with pytest.raises(ValueError, match="can't decode byte 0xff"), brief_errors():
        b"\xff".decode()
