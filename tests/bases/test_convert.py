"""Old weights become a folder that opens here and in transformers with the same tensors; nothing is guessed."""

from __future__ import annotations

import ast
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from small import VOCAB
from torch import Tensor

import filbert
from filbert.bases.convert import convert
from filbert.bases.load import load_base
from filbert.bases.tensorflow import read_folder
from filbert.errors import ConfigError, ModelError
from filbert.folder.check import check_folder
from filbert.folder.save import MODEL_FILES
from filbert.text.tokenizer import Tokenizer

RealData = Callable[[str], Path]


@pytest.fixture
def toy(tmp_path: Path, real_data: RealData) -> Path:
    folder = tmp_path / "cased_model"  # the name lies: no casing is read off it
    shutil.copytree(real_data("checkpoints/tf1_toy"), folder, copy_function=shutil.copyfile)
    folder.chmod(0o755)
    return folder


def hugging_face(folder: Path, *, zipped: bool = True, **config: object) -> dict[str, Tensor]:
    """Write a small BERT as transformers once did, with pickled weights; return its tensors."""
    from transformers import BertConfig, BertForPreTraining

    sizes = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    torch.manual_seed(0)
    model = BertForPreTraining(BertConfig(vocab_size=len(VOCAB), max_position_embeddings=32, **sizes))
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state["cls.predictions.decoder.weight"] = state["bert.embeddings.word_embeddings.weight"]  # tied, as it was
    folder.mkdir(exist_ok=True)
    saved = {name.replace("LayerNorm.weight", "LayerNorm.gamma"): tensor for name, tensor in state.items()}
    saved["bert.embeddings.position_ids"] = torch.arange(32)[None]
    torch.save(saved, folder / "pytorch_model.bin", _use_new_zipfile_serialization=zipped)  # noqa: TID251
    told = {**json.loads(model.config.to_json_string(use_diff=False)), **config}
    (folder / "config.json").write_text(json.dumps(told))
    (folder / "vocab.txt").write_text("\n".join(VOCAB) + "\n")
    return state


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def opens_in_transformers(folder: Path) -> dict[str, Tensor]:
    from transformers import AutoModel, AutoTokenizer

    assert len(AutoTokenizer.from_pretrained(folder)) == len(Tokenizer.from_folder(folder))
    return dict(AutoModel.from_pretrained(folder).state_dict())


# ---- TensorFlow ----


def test_a_tensorflow_checkpoint_becomes_a_base(toy: Path, tmp_path: Path) -> None:
    told = convert(toy, tmp_path / "out")
    arrays, _, _ = read_folder(toy)
    saved = load_file(tmp_path / "out" / "model.safetensors")
    assert saved.keys() == arrays.keys() == set(told["kept"])
    assert all(torch.equal(saved[name], torch.from_numpy(array)) for name, array in arrays.items())
    check_folder(tmp_path / "out")
    encoder, tokenizer, heads = load_base(tmp_path / "out")
    assert torch.equal(encoder.embeddings.token.weight, saved["bert.embeddings.word_embeddings.weight"])
    assert torch.equal(heads["cls.predictions.bias"], saved["cls.predictions.bias"])
    assert tokenizer.encode(["All WORK"])[0].ids.tolist() == [5, 6]


def test_transformers_opens_it_with_the_same_tensors(toy: Path, tmp_path: Path) -> None:
    convert(toy, tmp_path / "out")
    arrays, _, _ = read_folder(toy)
    theirs = opens_in_transformers(tmp_path / "out")
    assert {f"bert.{name}" for name in theirs} >= {name for name in arrays if name.startswith("bert.")}
    for name, tensor in theirs.items():
        if f"bert.{name}" in arrays:  # all but buffers
            assert torch.equal(tensor, torch.from_numpy(arrays[f"bert.{name}"])), name


def test_what_was_read_left_out_and_written_is_told(toy: Path, tmp_path: Path) -> None:
    told = convert(toy / "bert_model.ckpt", tmp_path / "out")
    assert told["read"] == {path.name: digest(path) for path in toy.iterdir() if path.suffix != ".meta"}
    assert told["written"] == {name: digest(tmp_path / "out" / name) for name in MODEL_FILES}
    assert len(told["kept"]) == 46
    assert len(told["left_out"]) == 2 * 46 + 1  # Adam's slots and the step
    assert (told["format"], told["lowercase"], told["lowercase_from"]) == ("tensorflow", True, "vocab.txt")


# ---- torch ----


@pytest.mark.parametrize("zipped", [True, False])
def test_a_torch_bin_becomes_a_base(tmp_path: Path, zipped: bool) -> None:
    state = hugging_face(tmp_path / "in", zipped=zipped)
    told = convert(tmp_path / "in", tmp_path / "out")
    saved = load_file(tmp_path / "out" / "model.safetensors")
    tied = {"cls.predictions.decoder.weight", "cls.predictions.decoder.bias"}
    assert set(told["left_out"]) == {*tied, "bert.embeddings.position_ids"}
    assert saved.keys() == state.keys() - tied
    assert all(torch.equal(tensor, state[name]) for name, tensor in saved.items())
    for name, tensor in opens_in_transformers(tmp_path / "out").items():
        assert f"bert.{name}" not in state or torch.equal(tensor, state[f"bert.{name}"]), name


def test_a_decoder_of_its_own_is_kept_and_views_are_whole(tmp_path: Path) -> None:
    state = hugging_face(tmp_path / "in")
    table = torch.randn(2, *state["bert.embeddings.word_embeddings.weight"].shape)
    state["cls.predictions.decoder.weight"] = table[1]
    state["bert.embeddings.word_embeddings.weight"] = table[0]
    state["bert.pooler.dense.weight"] = state["bert.pooler.dense.weight"].t()
    torch.save(state, tmp_path / "in" / "pytorch_model.bin")  # noqa: TID251
    convert(tmp_path / "in", tmp_path / "out")
    saved = load_file(tmp_path / "out" / "model.safetensors")
    for name in (
        "cls.predictions.decoder.weight",
        "bert.embeddings.word_embeddings.weight",
        "bert.pooler.dense.weight",
    ):
        assert torch.equal(saved[name], state[name])


def test_the_first_releases_layout_opens(tmp_path: Path) -> None:
    """pytorch-pretrained-bert: Google's config file beside the weights."""
    hugging_face(tmp_path / "in")
    (tmp_path / "in" / "config.json").rename(tmp_path / "in" / "bert_config.json")
    assert "bert_config.json" in convert(tmp_path / "in", tmp_path / "out")["read"]


# ---- casing ----


EMBEDDINGS = 15  # rows of the toy checkpoint


def vocabulary(folder: Path, *words: str) -> None:
    lines = [*VOCAB[:5], *words]
    lines += [f"[unused{n}]" for n in range(EMBEDDINGS - len(lines))]
    (folder / "vocab.txt").write_text("\n".join(lines[:EMBEDDINGS]) + "\n", encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "lowercase"),
    [(("good", "bad", "ℝ", "<S>"), True), (("good", "Good", "##Bad"), False)],
)
def test_the_vocabulary_may_prove_the_casing(
    toy: Path, tmp_path: Path, words: tuple[str, ...], lowercase: bool
) -> None:
    vocabulary(toy, *words)
    assert convert(toy, tmp_path / "out")["lowercase"] is lowercase
    for name in ("tokenizer_config.json", "tokenizer.json"):
        assert (tmp_path / "out" / name).is_file()
    assert json.loads((tmp_path / "out" / "tokenizer_config.json").read_text())["do_lower_case"] is lowercase


def test_a_vocabulary_that_proves_nothing_asks(toy: Path, tmp_path: Path) -> None:
    vocabulary(toy, "好", "坏")
    with pytest.raises(ModelError, match=rf"{toy}/vocab\.txt — does not show .* --uncased or --cased"):
        convert(toy, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert convert(toy, tmp_path / "out", lowercase=False)["lowercase_from"] == "given"
    assert Tokenizer.from_folder(tmp_path / "out").settings["do_lower_case"] is False


def test_tokenizer_config_says_the_casing(toy: Path, tmp_path: Path) -> None:
    rules = {"do_lower_case": False, "strip_accents": True, "tokenize_chinese_chars": False}
    (toy / "tokenizer_config.json").write_text(json.dumps(rules))
    told = convert(toy, tmp_path / "out")
    assert told["lowercase_from"] == "tokenizer_config.json"
    assert "tokenizer_config.json" in told["read"]
    assert Tokenizer.from_folder(tmp_path / "out").settings == rules


def test_tokenizer_json_says_the_casing(tmp_path: Path) -> None:
    hugging_face(tmp_path / "in")
    Tokenizer.from_vocab(VOCAB, lowercase=False).save(tmp_path / "in", 32)
    assert convert(tmp_path / "in", tmp_path / "out")["lowercase"] is False
    with pytest.raises(ConfigError, match=r"tokenizer\.json says lowercase=False"):
        convert(tmp_path / "in", tmp_path / "other", lowercase=True)


# ---- refusals: nothing is written ----


def change(folder: Path, name: str, **fields: object) -> None:
    told = json.loads((folder / name).read_text()) if (folder / name).exists() else {}
    (folder / name).write_text(json.dumps({**told, **fields}))


def link(folder: Path) -> None:
    (folder / "vocab.txt").rename(folder.parent / "vocab.txt")
    (folder / "vocab.txt").symlink_to(folder.parent / "vocab.txt")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda f: change(f, "config.json", auto_map={}), "config.json auto_map"),
        (lambda f: change(f, "tokenizer_config.json", auto_map={}), "tokenizer_config.json auto_map"),
        (lambda f: change(f, "config.json", model_type="roberta"), "model_type"),
        (lambda f: change(f, "config.json", hidden_size=16), "different models"),
        (lambda f: change(f, "config.json", num_hidden_layers=3), "different models"),
        (lambda f: change(f, "config.json", hidden_act="relu"), "hidden_act"),
        (lambda f: (f / "config.json").write_text("[" * 100_000), "config.json"),
        (lambda f: (f / "config.json").unlink(), "bert_config.json is missing"),
        (lambda f: (f / "vocab.txt").unlink(), "vocab.txt is missing"),
        (lambda f: (f / "vocab.txt").write_text("\n".join([*VOCAB, "film"])), "different tokens"),
        (lambda f: (f / "vocab.txt").write_text("\n".join([*VOCAB, "x", "y"])), "embeddings"),
        (lambda f: (f / "vocab.txt").write_bytes(b"\xff\xfe"), "UTF-8"),
        (lambda f: (f / "pytorch_model.bin").write_bytes(b"PK"), "pytorch_model.bin"),
        (lambda f: (f / "pytorch_model.bin").unlink(), "has no checkpoint"),
        (link, "link that leads out"),
    ],
)
def test_M36_what_does_not_fit_is_refused(tmp_path: Path, spoil: Callable[[Path], Any], said: str) -> None:
    source = tmp_path / "in"
    hugging_face(source)
    spoil(source)
    before = set(tmp_path.iterdir())
    with pytest.raises(ModelError) as caught:
        convert(source, tmp_path / "out", lowercase=True)
    assert said in str(caught.value)
    assert set(tmp_path.iterdir()) == before
    assert ".out." not in str(caught.value)  # the draft's name


def test_a_taken_folder_is_left_alone(toy: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = convert(toy, out)["written"]
    with pytest.raises(ConfigError, match="overwrite"):
        convert(toy, out)
    (out / "vocab.txt").write_text("spoiled")
    assert convert(toy, out, overwrite=True)["written"] == first
    (out / "mine.txt").touch()
    with pytest.raises(ConfigError, match="not a converted model"):
        convert(toy, out, overwrite=True)
    with pytest.raises(ConfigError, match="is a file"):
        convert(toy, out / "mine.txt", overwrite=True)
    with pytest.raises(ConfigError, match="not a converted model"):
        convert(toy, toy, overwrite=True)


def test_only_convert_reads_pickles() -> None:
    importers = set()
    for path in Path(filbert.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            source = (node.module or "") if isinstance(node, ast.ImportFrom) else ""
            if any("unpickled" in f"{source}.{name}" or "pickletools" in f"{source}.{name}" for name in names):
                importers.add(path.name)
    assert importers == {"convert.py", "unpickled.py"}
