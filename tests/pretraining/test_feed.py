"""The texts of each step: how long they are, and that an epoch reads every one once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pretrainings import CONFIG, corpus

from filbert.corpus.pool import Pool
from filbert.corpus.shards import write_shards
from filbert.pretraining import job
from filbert.pretraining.job import CorpusFeed
from filbert.progress import Silent
from filbert.readers.documents import open_corpus
from filbert.text.sentences import split
from filbert.text.vocab import learn


def test_an_even_share_of_the_steps_reads_longer_texts(tmp_path):
    source = corpus(tmp_path)
    opened = open_corpus(source)
    tokenizer = learn([p for d in opened.documents() for p in d.paragraphs], 120)
    shards = write_shards(opened, tmp_path / "shards", tokenizer=tokenizer, sentences=split, watch=Silent())
    feed = CorpusFeed(Pool([shards]), CONFIG.with_options(long_share=0.25), tokenizer)
    longest = [max(np.diff(batch.starts_B).max() for batch in feed.batches(i, 0.0)) for i in range(feed.steps)]
    assert feed.steps >= 8
    assert [tokens > 32 for tokens in longest] == [i % 4 == 3 for i in range(feed.steps)]
    assert max(longest) <= 64
    for share, length in ((0.0, 32), (0.9999, 64)):
        feed = CorpusFeed(Pool([shards]), CONFIG.with_options(long_share=share), tokenizer)
        begin = 0 if share == 0 else feed.steps  # with nearly all of them long, the first step alone is not
        steps = [feed.batches(begin + i, 0.0) for i in range(feed.steps)]
        planned = feed.pool.plan(length, pairs=True, seed=0, epoch=begin // feed.steps)
        assert sum(len(batch.order_B) for step in steps for batch in step) == len(planned)
        tokens = [sum(len(batch.ids_T) for batch in step) for step in steps]
        assert max(tokens) - min(tokens) <= 3 * length


def test_an_epoch_in_portions_reads_every_text_once_and_keeps_one_plan(tmp_path, monkeypatch):
    opened = open_corpus(corpus(tmp_path))
    tokenizer = learn([p for d in opened.documents() for p in d.paragraphs], 120)
    pool = Pool([write_shards(opened, tmp_path / "shards", tokenizer=tokenizer, sentences=split, watch=Silent())])
    config = replace(CONFIG, next_sentence=False, long_share=0.0)
    whole = CorpusFeed(pool, config, tokenizer)
    monkeypatch.setattr(job, "PORTION", pool.tokens() // 3)
    feed = CorpusFeed(pool, config, tokenizer)
    assert feed.portions in (3, 4)
    assert pool.documents == 59
    monkeypatch.setattr(job, "DOCUMENTS", 40)
    assert CorpusFeed(pool, config, tokenizer).portions == 1  # few documents, however long
    assert feed.tokens == pytest.approx(whole.tokens, rel=0.2)
    for epoch in range(2):
        seen: list[tuple[int, ...]] = []
        for step in range(epoch * feed.steps, (epoch + 1) * feed.steps):
            rows = feed.rows(step, 0.0)
            assert len(feed._plans) == 1
            ((rows_N5, _),) = feed._plans.values()
            seen += map(tuple, rows_N5[rows].tolist())
        assert sorted(seen) == sorted(map(tuple, pool.plan(32, pairs=False, seed=config.seed, epoch=epoch).tolist()))
