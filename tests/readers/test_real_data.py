"""The data sets that are there are read whole, as their READMEs count them."""

from __future__ import annotations

import itertools

import pytest

from filbert.errors import DataError
from filbert.finetuning.dataset import read_dataset
from filbert.readers.options import ReadOptions
from filbert.readers.sources import ORDER, open_source


@pytest.mark.parametrize(
    ("name", "options", "sizes", "classes"),
    [
        ("sst2", {}, (6920, 872, 1821), 2),
        ("chnsenticorp", {}, (9600, 1200, 1200), 2),
        ("tnews", {}, (53360, 10000, 0), 15),
        ("csl/cls_ctg", {}, (8000, 1000, 1000), 13),
        ("clinc150/data_full.json", {}, (15000, 3000, 4500), 150),
        ("trec6", {"delimiter": "space", "encoding": "latin-1"}, (4907, 545, 500), 6),
        ("ohsumed.tar.xz", {}, (3017, 340, 4043), 23),
    ],
)
def test_real_data(real_data, name, options, sizes, classes):
    data = read_dataset(real_data(name), ReadOptions(**options))
    splits = data.splits
    assert (len(splits.train), len(splits.validation), len(splits.test)) == sizes
    assert (len(data.settings.labels), data.quarantined) == (classes, 0)


def test_real_chnsenticorp_overlap_is_said(real_data):
    data = read_dataset(real_data("chnsenticorp"))
    assert any("texts of test stand in train too" in line for line in data.found)


@pytest.mark.parametrize(
    ("name", "options", "sizes", "first"),
    [
        ("afqmc", {}, (34334, 4316, 0), "蚂蚁借呗等额还款可以换成先息后本吗"),
        ("mrpc", {"text": "4", "text_pair": "5", "label": "1"}, (2576, 1500, 1725), "Amrozi accused his brother"),
        ("stsb", {"text": "8", "text_pair": "9", "label": "10"}, (4249, 1500, 1500), "A plane is taking off."),
    ],
)
def test_real_pairs(real_data, name, options, sizes, first):
    source = open_source(real_data(name), ReadOptions(**options))
    parts = [list(source.examples(split)) if split in source.splits else [] for split in ORDER]
    assert tuple(map(len, parts)) == sizes
    assert parts[0][0].text.startswith(first)
    assert all(len(row.inputs) == 2 for part in parts for row in part)


@pytest.mark.parametrize("name", ["mrpc", "stsb"])
def test_real_pairs_of_many_columns_are_asked(real_data, name):
    with pytest.raises(DataError, match="--text NAME --label NAME"):
        open_source(real_data(name))


def test_real_several_labels_are_passed_on(real_data):
    emotions = open_source(real_data("goemotions"))
    assert emotions.sample_targets()[:5] == ["27", "27", "2", "14", "3"]
    assert any("," in cell for cell in emotions.sample_targets())
    terms = open_source(real_data("unfair_tos"))
    assert terms.target_names == ("labels",)
    assert {cell[0] + cell[-1] for cell in terms.sample_targets()} == {"[]"}


def test_real_imdb_archive_streams(real_data):
    source = open_source(real_data("imdb/aclImdb_labeled.tar.xz"))
    rows = list(itertools.islice(source.examples(), 50))
    assert {row.target for row in rows} <= {"pos", "neg"}
    assert "!aclImdb/" in rows[0].place.file


@pytest.mark.slow
def test_real_imdb_archive_whole(real_data):
    data = read_dataset(real_data("imdb/aclImdb_labeled.tar.xz"))
    splits = data.splits
    assert (len(splits.train) + len(splits.validation), len(splits.test)) == (25_000, 25_000)
    assert "warning: 123 texts of test stand in train too" in data.found


@pytest.mark.slow
def test_real_20newsgroups(real_data):
    with pytest.raises(DataError, match="--encoding latin-1"):
        read_dataset(real_data("20newsgroups.tar.xz"))
    splits = read_dataset(real_data("20newsgroups.tar.xz"), ReadOptions(encoding="latin-1")).splits
    assert (len(splits.train) + len(splits.validation), len(splits.test)) == (11_314, 7_532)
