"""`pytorch_model.bin` in both formats: equal tensors from good files, a refusal from all others, and nothing is run."""

from __future__ import annotations

import collections
import gc
import io
import pickle  # noqa: TID251 (the tests write hostile files; the package may not)
import pickletools
import random
import struct
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from filbert.bases.unpickled import PICKLE_LIMIT, read_torch_bin
from filbert.errors import ModelError

FORMATS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "stream"])


def save(value: object, path: Path, *, zipped: bool) -> Path:
    torch.save(value, path, _use_new_zipfile_serialization=zipped)  # noqa: TID251
    return path


def a_state() -> dict[str, Tensor]:
    torch.manual_seed(0)
    kinds = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
    state = {f"kind.{i}": torch.randn(3, 5).to(kind) for i, kind in enumerate(kinds)}
    state |= {"whole": torch.arange(7), "small": torch.arange(4, dtype=torch.uint8), "scalar": torch.tensor(2.5)}
    table = torch.randn(6, 4)
    state |= {"tied.a": table, "tied.b": table}
    state |= {"turned": torch.randn(2, 3).t(), "part": torch.randn(5, 5)[1:4, ::2], "one": torch.randn(1, 4)[:, 1:2]}
    return {**state, "parameter": nn.Parameter(torch.randn(2))}


# ---- good files ----


@FORMATS
def test_all_tensors_are_equal(tmp_path: Path, zipped: bool) -> None:
    state = a_state()
    read = read_torch_bin(save(state, tmp_path / "m.bin", zipped=zipped))
    assert list(read) == list(state)
    for name, tensor in state.items():
        assert read[name].dtype == tensor.dtype
        assert torch.equal(read[name], tensor.detach()), name
    assert read["tied.a"].data_ptr() == read["tied.b"].data_ptr()
    assert not read["parameter"].requires_grad


@FORMATS
def test_the_state_of_a_module_with_its_metadata(tmp_path: Path, zipped: bool) -> None:
    module = nn.Sequential(nn.Embedding(400, 3), nn.LayerNorm(3), nn.BatchNorm1d(3))
    read = read_torch_bin(save(module.state_dict(), tmp_path / "m.bin", zipped=zipped))
    module.load_state_dict(read)
    assert torch.equal(read["0.weight"], module[0].weight)


@FORMATS
def test_a_large_state_uses_long_memo_numbers(tmp_path: Path, zipped: bool) -> None:
    state = {f"encoder.layer.{i}.weight": torch.full((2,), float(i)) for i in range(500)}
    read = read_torch_bin(save(state, tmp_path / "m.bin", zipped=zipped))
    assert all(torch.equal(read[name], tensor) for name, tensor in state.items())


# ---- hostile pickles ----


class Runs:
    """When pickled, a call of the given function."""

    def __init__(self, function: Callable[..., Any], *args: object) -> None:
        self.call = function, args

    def __reduce__(self) -> Any:
        return self.call


def hostile(path: Path, flag: Path, which: str) -> dict[str, object]:
    import os

    touch = f"touch {flag}"
    values: dict[str, object] = {
        "system": Runs(os.system, touch),
        "eval": Runs(eval, f"open({str(flag)!r}, 'w')"),
        "getattr": Runs(getattr, Runs(__import__, "os"), "system"),
        "nested": {"inner": [Runs(os.system, touch)]},
        "in a tensor": Runs(torch._utils._rebuild_tensor_v2, Runs(os.system, touch), 0, (1,), (1,), False, {}),
        "load": Runs(torch.load, str(path)),  # noqa: TID251
        "ordered": Runs(collections.OrderedDict, [("a", Runs(os.system, touch))]),
    }
    return {"weight": torch.ones(2), "other": values[which]}


@FORMATS
@pytest.mark.parametrize("which", ["system", "eval", "getattr", "nested", "in a tensor", "load", "ordered"])
def test_M35_a_pickle_that_runs_code_is_refused_and_not_run(tmp_path: Path, which: str, zipped: bool) -> None:
    path, flag = tmp_path / "m.bin", tmp_path / "was-run"
    save(hostile(path, flag, which), path, zipped=zipped)
    with pytest.raises(ModelError, match="not run") as caught:
        read_torch_bin(path)
    assert str(path) in str(caught.value)
    assert not flag.exists()
    if which == "system":
        assert "'posix.system'" in str(caught.value) or "'nt.system'" in str(caught.value)
        torch.load(path, weights_only=False)  # noqa: TID251 (the file does bite)
        assert flag.exists()


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (b"cos\nsystem\n(S'true'\ntR.", "os.system"),
        (b"ccollections\nOrderedDict\n(lR.", "the pickle opcode LIST"),
        (b"ccollections\nOrderedDict\n)\x81.", "the pickle opcode NEWOBJ"),
        (b"(ios\nsystem\n.", "the pickle opcode INST"),
        (b"\x8c\x02os\x8c\x06system\x93.", "the pickle opcode SHORT_BINUNICODE"),
        (b"\x82\x01.", "the pickle opcode EXT1"),
        (b"Pname\n.", "the pickle opcode PERSID"),
        (b"ctorch\nFloatStorage\n)R.", "reference to torch FloatStorage"),
        (b"}}R.", "calls a dict"),
        (b"})b.", "sets the state of a dict"),
        (b"]K\x01K\x02s.", "keys are not text"),
        (b"}K\x01K\x02s.", "keys are not text"),
        (b"}(K\x01u.", "keys are not text"),
        (b"}K\x01a.", "appends to a dict"),
        (b"h\x05.", "refers to a value"),
        (b"K\x01Q.", "not a plain storage"),
        (b"K\x01.", "holds a int"),
        (b"}.", "holds a dict"),
        (b"0.", "POP"),
        (b".", "ends too early"),
        (b"t.", "ends too early"),
        (b"}", "damaged"),
        (b"\xff.", "damaged"),
        (b"", "damaged"),
    ],
)
def test_M35_opcodes_and_names_are_refused_by_name(tmp_path: Path, code: bytes, said: str) -> None:
    with pytest.raises(ModelError) as caught:
        read_torch_bin(zipped_pickle(tmp_path / "m.bin", code))
    assert said in str(caught.value)


def zipped_pickle(path: Path, code: bytes, compression: int = zipfile.ZIP_STORED, **records: bytes) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("m/data.pkl", code)
        for name, data in records.items():
            archive.writestr("m/data/" + name.removeprefix("_"), data)
    return path


def a_tensor(
    storage: str, *, offset: int = 0, shape: object = (2,), strides: object = (1,), count: object = 2
) -> bytes:
    """A state dict of one tensor, in the protocol of torch.save, every field as given."""

    def plain(value: object) -> bytes:
        return pickle.dumps(value, 2)[2:-1]  # without PROTO and STOP

    place = b"(" + plain("storage") + b"c" + storage.encode() + b"\n" + plain("0") + plain("cpu") + plain(count) + b"tQ"
    numbers = plain(offset) + plain(shape) + plain(strides) + b"\x89ccollections\nOrderedDict\n)R"
    return b"\x80\x02}" + plain("a") + b"ctorch._utils\n_rebuild_tensor_v2\n(" + place + numbers + b"tRs."


FLOAT = "torch\nFloatStorage"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"shape": (3,)}, "beyond its storage"),
        ({"offset": 1}, "beyond its storage"),
        ({"strides": (2,)}, "beyond its storage"),
        ({"shape": (10**9,), "strides": (0,)}, "beyond its storage"),
        ({"shape": (0,)}, "beyond its storage"),
        ({"shape": (2**62, 2**62), "strides": (0, 0)}, "beyond its storage"),
        ({"shape": (-2,)}, "whole numbers"),
        ({"strides": (-1,)}, "whole numbers"),
        ({"offset": -1}, "whole numbers"),
        ({"shape": (True,)}, "whole numbers"),
        ({"shape": ("2",)}, "whole numbers"),
        ({"shape": [2]}, "proper shape"),
        ({"shape": (1,) * 9, "strides": (1,) * 9}, "proper shape"),
        ({"count": 3}, "no record"),
        ({"count": 2**40}, "no record"),
        ({"count": 10**300}, "proper count"),
        ({"count": -2}, "proper count"),
        ({"count": "2"}, "proper count"),
        ({"storage": "torch\nDoubleStorage"}, "no record"),
        ({"storage": "torch\nQInt8Storage"}, "torch.QInt8Storage"),
        ({"storage": "collections\nOrderedDict"}, "not a plain storage"),
    ],
)
def test_M36_tensors_that_do_not_fit_are_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    path, numbers = tmp_path / "m.bin", struct.pack("<2f", 1, 2)
    assert read_torch_bin(zipped_pickle(path, a_tensor(FLOAT), _0=numbers))["a"].tolist() == [1, 2]
    with pytest.raises(ModelError) as caught:
        read_torch_bin(zipped_pickle(path, a_tensor(**{"storage": FLOAT, **changes}), _0=numbers))
    assert said in str(caught.value)


def test_a_stride_over_one_element_may_be_any_number(tmp_path: Path) -> None:
    path = zipped_pickle(tmp_path / "m.bin", a_tensor(FLOAT, shape=(1, 2), strides=(10**30, 1)), _0=bytes(8))
    assert read_torch_bin(path)["a"].shape == (1, 2)


# ---- archives ----


def test_M36_compressed_records_are_refused(tmp_path: Path) -> None:
    path = zipped_pickle(tmp_path / "m.bin", a_tensor(FLOAT), zipfile.ZIP_DEFLATED, _0=bytes(50_000_000))
    assert path.stat().st_size < 100_000
    with pytest.raises(ModelError, match="compressed"):
        read_torch_bin(path)


def test_M36_records_that_overlap_are_refused(tmp_path: Path) -> None:
    path, numbers = tmp_path / "m.bin", bytes(8_000)
    zipped_pickle(path, a_tensor(FLOAT, count=2_000), **{f"_{i}": numbers for i in range(2)})
    data = path.read_bytes()
    first, second = (data.index(b"m/data/%d" % i) - 30 for i in range(2))
    directory = data.rindex(b"m/data/1") - 46
    assert struct.unpack_from("<I", data, directory + 42)[0] == second
    one = data[:second] + data[data.index(b"PK\x01\x02") :].replace(struct.pack("<I", second), struct.pack("<I", first))
    end = one.rindex(b"PK\x05\x06")
    one = one[: end + 16] + struct.pack("<I", one.index(b"PK\x01\x02")) + one[end + 20 :]
    path.write_bytes(one)
    with pytest.raises(ModelError, match="overlap"):
        read_torch_bin(path)


@pytest.fixture
def frozen_heap() -> Iterator[None]:
    """Keep what other tests left out of the garbage collector's way, which else takes longer than the reading."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("frozen_heap")
def test_M36_long_hostile_pickles_are_refused_in_two_seconds(tmp_path: Path) -> None:
    doubled = b"]" + b"q\x00h\x00\x86" * 4_000
    for code in (
        b"(" * (PICKLE_LIMIT - 1) + b".",
        b"K\x01" * (PICKLE_LIMIT // 2 - 1) + b".",
        b"]" + b"\x85" * (PICKLE_LIMIT - 2) + b".",  # a tuple in a tuple in a tuple …
        doubled + b"Q.",  # a tuple of 2**4000 elements, if it were printed
        b"}U",
        bytes(PICKLE_LIMIT + 1),
        b"X\xff\xff\xff\x7f.",  # a text of 2 GB
        b"\x8e" + b"\xff" * 7 + b"\x7f.",
    ):
        path = zipped_pickle(tmp_path / "m.bin", code)
        start = time.process_time()
        with pytest.raises(ModelError):
            read_torch_bin(path)
        path.write_bytes(code)
        with pytest.raises(ModelError):
            read_torch_bin(path)
        assert time.process_time() - start < 4  # two readings


# ---- damage ----


@FORMATS
def test_a_file_cut_anywhere_is_refused(tmp_path: Path, zipped: bool) -> None:
    path = save(a_state(), tmp_path / "m.bin", zipped=zipped)
    whole = path.read_bytes()
    end = len(whole)
    for at in sorted({*range(0, 300), *range(0, end, 41), *range(end - 100, end)}):
        path.write_bytes(whole[:at])
        with pytest.raises(ModelError):
            read_torch_bin(path)


@FORMATS
def test_damage_gives_a_model_error_or_nothing_worse_than_other_numbers(tmp_path: Path, zipped: bool) -> None:
    path, dice = save(a_state(), tmp_path / "m.bin", zipped=zipped), random.Random(0)
    whole = path.read_bytes()
    refused = 0
    for _ in range(500):
        data = bytearray(whole)
        for _ in range(dice.randrange(1, 4)):
            data[dice.randrange(len(data))] = dice.randrange(256)
        path.write_bytes(data)
        try:
            read_torch_bin(path)
        except ModelError:
            refused += 1
    assert refused > 100


def test_a_file_that_is_something_else(tmp_path: Path) -> None:
    path = tmp_path / "m.bin"
    for data in (b"", b"hello", b"PK\x03\x04", pickle.dumps({"a": 1}, 2), bytes(5_000)):
        path.write_bytes(data)
        with pytest.raises(ModelError, match=r"m\.bin"):
            read_torch_bin(path)
    with pytest.raises(ModelError, match="missing"):
        read_torch_bin(tmp_path / "none.bin")


@FORMATS
@pytest.mark.parametrize("value", [torch.ones(2), {"a": 1}, {"a": {"b": torch.ones(2)}}, {1: torch.ones(2)}, [], {}])
def test_what_is_no_state_dict_is_refused(tmp_path: Path, value: object, zipped: bool) -> None:
    with pytest.raises(ModelError):
        read_torch_bin(save(value, tmp_path / "m.bin", zipped=zipped))


def test_the_header_counts_the_opcodes_rightly(tmp_path: Path) -> None:
    from filbert.bases import unpickled

    known = {
        *unpickled._Machine().actions,
        *unpickled._LITERALS,
        *unpickled._NUMBERS_AND_TEXT,
        *unpickled._TUPLES,
        "STOP",
    }
    names = {opcode.name for opcode in pickletools.opcodes}
    assert known <= names
    assert f"{len(known)} of pickle's {len(names)} opcodes" in (unpickled.__doc__ or "")
    code = io.BytesIO(zipfile.ZipFile(save(a_state(), tmp_path / "m.bin", zipped=True)).read("m/data.pkl"))
    assert {opcode.name for opcode, _, _ in pickletools.genops(code)} <= known
