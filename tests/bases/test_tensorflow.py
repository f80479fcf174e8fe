"""Google's checkpoints: the real toy one equals its data file, and what is damaged or hostile is refused by name."""

from __future__ import annotations

import json
import re
import shutil
import struct
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from table_files import BYTES, FLOAT, FLOATS, GOOD, HEADER, block, entry, field, index, masked, varint, write

from filbert.bases import crc32c as checksum
from filbert.bases.crc32c import crc32c
from filbert.bases.tensorflow import (
    find_prefix,
    hugging_face_name,
    is_checkpoint_folder,
    read_checkpoint,
    read_config,
    read_folder,
    variables,
)
from filbert.errors import ModelError

RealData = Callable[[str], Path]
INT64, STRING, BFLOAT16, HALF = 9, 7, 14, 19


# ---- the checksum ----


def plain_crc32c(data: bytes) -> int:
    """The textbook's loop, the readable twin."""
    table = []
    for n in range(256):
        for _ in range(8):
            n = n >> 1 ^ (0x82F63B78 if n & 1 else 0)
        table.append(n)
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 255]
    return crc ^ 0xFFFFFFFF


def test_crc32c_is_the_published_one() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, B.4


@pytest.mark.parametrize("length", [*range(18), 1000, *(checksum.PIECE + n for n in (-3, 0, 1, 2)), 2 * checksum.PIECE])
def test_crc32c_equals_its_readable_twin(length: int) -> None:
    data = np.random.default_rng(length).integers(0, 256, length).astype(np.uint8).tobytes()
    assert crc32c(data) == plain_crc32c(data)


# ---- the real file ----


def toy_variables() -> dict[str, tuple[int, ...]]:
    """The variables of BERT's pre-training graph, as the paper's code makes them, for the toy's sizes."""
    hidden, up, vocab, positions = 4, 16, 15, 16
    norm = {"LayerNorm/beta": (hidden,), "LayerNorm/gamma": (hidden,)}
    square = {"kernel": (hidden, hidden), "bias": (hidden,)}

    def under(path: str, names: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
        return {f"{path}/{name}": shape for name, shape in names.items()}

    tables = {"word": vocab, "position": positions, "token_type": 2}
    made = under("bert/embeddings", {f"{name}_embeddings": (rows, hidden) for name, rows in tables.items()} | norm)
    for i in range(2):
        layer = f"bert/encoder/layer_{i}"
        for part in ("query", "key", "value"):
            made |= under(f"{layer}/attention/self/{part}", square)
        made |= under(f"{layer}/attention/output", norm) | under(f"{layer}/attention/output/dense", square)
        made |= under(f"{layer}/intermediate/dense", {"kernel": (hidden, up), "bias": (up,)})
        made |= under(f"{layer}/output", norm)
        made |= under(f"{layer}/output/dense", {"kernel": (up, hidden), "bias": (hidden,)})
    made |= under("bert/pooler/dense", square) | under("cls/predictions/transform", norm)
    made |= under("cls/predictions/transform/dense", square) | {"cls/predictions/output_bias": (vocab,)}
    return made | under("cls/seq_relationship", {"output_weights": (2, hidden), "output_bias": (2,)})


def toy_by_hand(folder: Path) -> dict[str, np.ndarray]:
    """Cut the data file without its index: TensorFlow writes the variables one after the other in order of name."""
    shapes = toy_variables()
    shapes |= {f"{name}/adam_{slot}": shape for name, shape in shapes.items() for slot in "mv"}
    data, at, tensors = (folder / "bert_model.ckpt.data-00000-of-00001").read_bytes(), 0, {}
    for name in sorted([*shapes, "global_step"]):
        shape, kind = (shapes[name], np.float32) if name in shapes else ((), np.int64)
        tensors[name] = np.frombuffer(data, kind, int(np.prod(shape)), at).reshape(shape)
        at += tensors[name].nbytes
    assert at == len(data)
    return tensors


def test_every_tensor_equals_its_file(real_data: RealData) -> None:
    folder = real_data("checkpoints/tf1_toy")
    expected, read = toy_by_hand(folder), read_checkpoint(folder / "bert_model.ckpt")
    assert read.keys() == expected.keys()
    for name, tensor in expected.items():
        np.testing.assert_array_equal(read[name], tensor, strict=True)
    assert np.allclose(read["bert/embeddings/LayerNorm/gamma"], 1, atol=0.2)  # norms stay near 1, so the cut is right


def test_tensors_are_named_as_hugging_face_does(real_data: RealData) -> None:
    folder = real_data("checkpoints/tf1_toy")
    raw = toy_by_hand(folder)
    tensors, config, vocab = read_folder(folder)
    assert tensors.keys() == {hugging_face_name(name) for name in toy_variables()}
    assert vocab == folder / "vocab.txt"
    assert (config["hidden_size"], config["model_type"], config["layer_norm_eps"]) == (4, "bert", 1e-12)

    def same(theirs: str, ours: str, *, turned: bool = False) -> None:
        expected = raw[ours].T if turned else raw[ours]
        np.testing.assert_array_equal(tensors[theirs], expected, strict=True)
        assert tensors[theirs].flags.c_contiguous

    layer = "bert.encoder.layer.1"
    same(f"{layer}.attention.self.query.weight", "bert/encoder/layer_1/attention/self/query/kernel", turned=True)
    same(f"{layer}.intermediate.dense.weight", "bert/encoder/layer_1/intermediate/dense/kernel", turned=True)
    same(f"{layer}.output.LayerNorm.bias", "bert/encoder/layer_1/output/LayerNorm/beta")
    same("bert.embeddings.word_embeddings.weight", "bert/embeddings/word_embeddings")
    same("cls.predictions.bias", "cls/predictions/output_bias")
    same("cls.seq_relationship.weight", "cls/seq_relationship/output_weights")


@pytest.mark.parametrize(
    "name",
    ["bert/pooler/dense/kernel/adam_m", "global_step", "output_weights", "bert/encoder/layer_00/output/dense/bias"],
)
def test_what_is_no_part_of_bert_has_no_name(name: str) -> None:
    assert hugging_face_name(name) is None


# ---- files of our own ----


def test_all_dtypes_in_several_blocks_and_shards(tmp_path: Path) -> None:
    halves = np.array([1.5, -2, 3e-5], np.float16)
    top = (FLOATS.view(np.uint32) >> 16).astype(np.uint16)
    count = np.array([7, -(2**40)], np.int64)
    made = {"a/b": (FLOAT, FLOATS), "a/c": (HALF, halves), "a/cc": (BFLOAT16, top), "b": (INT64, count)}
    items = [(b"", field(1, 2) + field(3, field(1, 1)))]
    files = [b"", b""]
    for i, (name, (dtype, array)) in enumerate(made.items()):
        data, shard = array.tobytes(), i % 2
        items.append((name.encode(), entry(dtype, array.shape, (shard, len(files[shard]), len(data)), masked(data))))
        files[shard] += data
    (tmp_path / "x.index").write_bytes(index(items, per_block=2))
    for i, data in enumerate(files):
        (tmp_path / f"x.data-0000{i}-of-00002").write_bytes(data)
    read = read_checkpoint(tmp_path / "x")
    for name in ("a/b", "a/c", "b"):
        np.testing.assert_array_equal(read[name], made[name][1], strict=True)
    np.testing.assert_array_equal(read["a/cc"], (top.astype(np.uint32) << 16).view(np.float32), strict=True)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"record": entry(STRING, (2, 3), (0, 0, 24), 0)}, "type 7"),
        ({"record": entry(FLOAT, (2, 4), (0, 0, 24), 0)}, "24 bytes for shape"),
        ({"record": entry(FLOAT, (2**62, 3), (0, 0, 24), 0)}, "24 bytes for shape"),
        ({"record": entry(FLOAT, (0, 2**62), (0, 0, 0), 0)}, "0 bytes for shape"),
        ({"record": entry(FLOAT, (2**38,), (0, 0, 2**40), 0)}, "ends too early for this tensor"),
        ({"record": entry(FLOAT, (2, 3), (0, 4, 24), 0)}, "ends too early for this tensor"),
        ({"record": entry(FLOAT, (2, 3), (0, 2**64 - 24, 24), 0)}, "ends too early for this tensor"),
        ({"record": entry(FLOAT, (2, 3), (1, 0, 24), 0)}, "data file 1 of 1"),
        ({"record": entry(FLOAT, (2, 3), (0, 0, 24), 0)}, "fails its checksum"),
        ({"record": GOOD + field(7, b"")}, "slices"),
        ({"record": GOOD[:-2]}, "ends too early"),
        ({"record": field(2, b"\xff" * 11)}, "type 0"),
        ({"record": b"\xff" * 11}, "more than ten bytes"),
        ({"record": b""}, "empty record"),
        ({"header": field(1, 1) + field(2, 1)}, "byte order"),
        ({"header": field(1, 2)}, "is missing"),
        ({"header": field(3, 1)}, "0 data files"),
        ({"kind": 1}, "compressed (type 1)"),
    ],
)
def test_M36_wrong_fields_are_refused(tmp_path: Path, changes: dict[str, bytes], said: str) -> None:
    assert read_checkpoint(write(tmp_path))["a"].tolist() == FLOATS.reshape(2, 3).tolist()
    with pytest.raises(ModelError) as caught:
        read_checkpoint(write(tmp_path, **changes))
    assert said in str(caught.value)
    assert str(tmp_path / "m.ckpt") in str(caught.value)


def test_M36_tensors_that_overlap_are_refused(tmp_path: Path) -> None:
    prefix = write(tmp_path)
    (tmp_path / "m.ckpt.index").write_bytes(index([(b"", HEADER), (b"a", GOOD), (b"b", GOOD)]))
    with pytest.raises(ModelError, match="overlap"):
        read_checkpoint(prefix)


def test_M36_a_block_used_twice_is_refused(tmp_path: Path) -> None:
    data = block([(b"", HEADER), (b"a", GOOD)])
    handle = varint(0) + varint(len(data) - 5)
    top = block([(b"a", handle), (b"b", handle)])
    footer = handle + varint(len(data)) + varint(len(top) - 5)
    prefix = write(tmp_path)
    magic = struct.pack("<Q", 0xDB4775248B80FB57)
    (tmp_path / "m.ckpt.index").write_bytes(data + top + footer.ljust(40, b"\0") + magic)
    with pytest.raises(ModelError, match="blocks that overlap"):
        read_checkpoint(prefix)


def test_M36_any_cut_and_any_flipped_byte_is_noticed(tmp_path: Path) -> None:
    prefix = write(tmp_path)
    for file in sorted(tmp_path.iterdir()):
        whole = file.read_bytes()
        for at in range(len(whole)):
            file.write_bytes(whole[:at])
            with pytest.raises(ModelError):
                read_checkpoint(prefix)
            file.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
            padding = file.suffix == ".index" and -48 + 4 <= at - len(whole) < -8  # behind the handles, before MAGIC
            if padding:
                assert read_checkpoint(prefix)["a"].tobytes() == BYTES
            else:
                with pytest.raises(ModelError, match=re.escape(str(tmp_path))):
                    read_checkpoint(prefix)
        file.write_bytes(whole)


def test_M36_a_hostile_index_is_refused_in_two_seconds(tmp_path: Path) -> None:
    prefix = write(tmp_path)
    small = entry(FLOAT, (), (0, 0, 4), 0)
    many = [(b"", HEADER), *((b"%07d" % i, small) for i in range(13_500))]  # 256 kB, all at the same place
    data = index(many, per_block=500)
    assert 230_000 < len(data) <= 1 << 18
    for content in (data, data + bytes(1 << 20), bytes(1 << 20), b"\xff" * 500):
        (tmp_path / "m.ckpt.index").write_bytes(content)
        start = time.process_time()
        with pytest.raises(ModelError):
            read_checkpoint(prefix)
        assert time.process_time() - start < 2


# ---- folders ----


def test_the_checkpoint_of_a_folder_is_found(tmp_path: Path, real_data: RealData) -> None:
    toy = real_data("checkpoints/tf1_toy")
    assert is_checkpoint_folder(toy)
    assert not is_checkpoint_folder(tmp_path)
    assert find_prefix(toy) == find_prefix(toy / "bert_model.ckpt") == toy / "bert_model.ckpt"
    with pytest.raises(ModelError, match="has no checkpoint"):
        find_prefix(tmp_path)
    for name in ("model.ckpt-10.index", "model.ckpt-20.index"):
        (tmp_path / name).touch()
    with pytest.raises(ModelError, match="several checkpoints"):
        find_prefix(tmp_path)
    assert find_prefix(tmp_path / "model.ckpt-20") == tmp_path / "model.ckpt-20"


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no variable under a BERT name"):
        read_folder(write(tmp_path))


def test_M35_links_out_of_the_folder_are_refused(tmp_path: Path, real_data: RealData) -> None:
    toy = real_data("checkpoints/tf1_toy")
    for name in ("bert_model.ckpt.index", "bert_model.ckpt.data-00000-of-00001", "bert_config.json", "vocab.txt"):
        folder = tmp_path / name
        shutil.copytree(toy, folder, copy_function=shutil.copyfile)
        folder.chmod(0o755)
        read_folder(folder)
        (folder / name).unlink()
        (folder / name).symlink_to(toy / name)
        with pytest.raises(ModelError, match=r"link that leads out"):
            read_folder(folder)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "holds a list"),
        ("{", "cannot be read as JSON"),
        ("[" * 100_000, "JSON"),
        (" " * (2 << 20), "larger than"),
    ],
)
def test_a_config_that_is_none_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "bert_config.json").write_text(text)
    with pytest.raises(ModelError, match=said):
        read_config(tmp_path / "bert_config.json")


@pytest.mark.parametrize("value", ["4", True, 0, 10**9, None])
def test_a_config_with_wrong_sizes_names_the_field(tmp_path: Path, real_data: RealData, value: object) -> None:
    told = json.loads((real_data("checkpoints/tf1_toy") / "bert_config.json").read_text())
    (tmp_path / "bert_config.json").write_text(json.dumps({**told, "hidden_size": value}))
    with pytest.raises(ModelError, match="hidden_size"):
        read_config(tmp_path / "bert_config.json")


def test_variables_are_listed_without_being_read(real_data: RealData) -> None:
    found = variables(real_data("checkpoints/tf1_toy") / "bert_model.ckpt")
    assert found["bert/embeddings/word_embeddings"].shape == (15, 4)
    assert found["global_step"].size == 8
