"""The usual names of columns: of texts, pairs of texts, targets and splits; and how names are compared."""

from __future__ import annotations

import re
import unicodedata

TEXT_NAMES = (  # the first tier wins over the second, and so on; two names of one tier are ambiguous
    ("text", "text_a", "texts", "文本", "正文"),
    (
        "review",
        "sentence",
        "content",
        "body",
        "comment",
        "message",
        "document",
        "article",
        "评论",
        "内容",
        "句子",
        "留言",
    ),
    ("review_text", "review_body", "comment_text", "tweet", "utterance", "description", "note", "question", "query"),
    ("abstract", "summary", "title", "headline", "subject", "input", "标题", "摘要", "问题"),
)
TARGET_NAMES = (
    ("label", "标签"),
    ("labels", "cats", "标签列表"),
    (
        "class",
        "category",
        "target",
        "sentiment",
        "y",
        "intent",
        "类别",
        "分类",
        "情感",
        "类别标签",
        "tags",
        "categories",
    ),
    (
        "topic",
        "polarity",
        "emotion",
        "classification",
        "output",
        "rating",
        "stars",
        "score",
        "similarity",
        "label_name",
        "主题",
        "情绪",
        "评分",
        "分数",
        "得分",
        "星级",
        "相似度",
    ),
)
PAIRS = (  # as `squeezed` has them; the first is the first text, wherever it stands
    ("sentence1", "sentence2"),
    ("sentencea", "sentenceb"),
    ("question1", "question2"),
    ("premise", "hypothesis"),
    ("texta", "textb"),
    ("text1", "text2"),
    ("text", "textpair"),
    ("query", "passage"),
    ("query", "document"),
    ("question", "context"),
    ("question", "passage"),
    ("question", "paragraph"),
    ("query", "context"),
    ("question", "sentence"),  # QNLI
    ("#1string", "#2string"),  # MRPC
    ("句子1", "句子2"),
    ("问题1", "问题2"),
    ("文本1", "文本2"),
    ("前提", "假设"),
    ("问题", "上下文"),
    ("问题", "原文"),
    ("问题", "文章"),
    ("问题", "段落"),
    ("问题", "篇章"),
    ("问题", "材料"),
)
SUMMARY_NAMES = (  # the target where nothing else is one: a text and a shorter one beside it
    ("summary", "summaries", "highlights", "tldr", "摘要", "总结", "概要"),
    ("title", "headline", "标题", "题目"),
)
ANSWER_NAMES = ("answers", "answer", "答案")  # the target beside a question and the text that it is asked of …
ASKED_OF = ("context", "passage", "paragraph", "上下文", "原文", "文章", "段落", "篇章", "材料")
START_NAMES = ("answer_start", "answer start", "answerstart", "start", "答案位置", "起始位置")  # … and where it begins
SECOND_NAMES = ("textb", "text2", "textpair", "sentence2", "sentenceb", "question2", "hypothesis")
ID_NAMES = ("id", "ids", "idx", "index", "no", "nr", "编号", "序号", "unnamed: 0")
SPLIT_NAMES = ("split", "fold", "subset", "partition")
SPLITS = {
    **dict.fromkeys(("train", "training", "trn", "tr", "训练", "训练集"), "train"),
    **dict.fromkeys(("dev", "val", "valid", "validation", "验证", "验证集", "开发集"), "validation"),
    **dict.fromkeys(("test", "testing", "tst", "测试", "测试集"), "test"),
}


def split_of(name: str) -> str | None:
    """Return train, validation or test where a name of a file, folder or value says so.

    >>> split_of("20news-bydate-train"), split_of("dev.tsv"), split_of("latest")
    ('train', 'validation', None)
    """
    words = [SPLITS[word] for word in re.split(r"[^a-z\u4e00-\u9fff]+", name.lower()) if word in SPLITS]
    return words[0] if words else None


def plain(name: str) -> str:
    """Return a column name as it is compared: NFKC, trimmed, lower case."""
    return unicodedata.normalize("NFKC", name).strip().casefold()


def squeezed(name: str) -> str:
    """Return a name as those of a pair are compared: without blanks and underscores too.

    >>> squeezed("Sentence_1"), squeezed("#1 String")
    ('sentence1', '#1string')
    """
    return re.sub(r"[\s_]+", "", plain(name))


def known_name(name: str) -> bool:
    """Tell whether a cell is a usual name of a text, target or split column."""
    if any(plain(name) in tier for tier in (*TEXT_NAMES, *TARGET_NAMES, *SUMMARY_NAMES, SPLIT_NAMES)):
        return True
    return any(squeezed(name) in pair for pair in PAIRS)


def nameless(columns: tuple[str, ...] | list[str]) -> bool:
    """Tell whether these are the names that columns without a header get: `column 1`, `column 2` …"""
    return all(column == f"column {at}" for at, column in enumerate(columns, 1))
