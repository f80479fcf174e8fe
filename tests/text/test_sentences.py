"""Sentences end where a reader would end them; a cut loses nothing but white space."""

from __future__ import annotations

import json
import random
import time

import pytest

from filbert.text.sentences import spans, split

ENGLISH = r"""
Hello there. ¦My name is Ann.
What is your name? ¦It is Ben.
Stop! ¦Do not move.
What?! ¦Never again.
Wait... what did you say?
She waited... ¦Then she left.
He said so…. ¦Nobody heard.
Mr. Smith met Mrs. Jones and Dr. Brown at St. Mary's.
Prof. Li, Gen. Lee and Lt. Col. Kim were late.
I live in the U.S. Army barracks.
He moved to the U.S. in May.
He moved to the U.S. ¦He liked it.
They came from the U.K. ¦The rest stayed.
Some fruits, e.g. apples, i.e. the red ones, cf. Pears, are sold.
See No. 5 and Nos. 6 to 9.
The answer is no. ¦I go home.
It stands in vol. 3, pp. 12–14, fig. 2, of the book.
Fed. R. Civ. P. 23 was amended.
Agents of S.H.I.E.L.D. and N.W.A live on, S.p.A. does not. ¦The end.
Ann (b. 1970) met W. E. B. Du Bois.
We were captured in 2001.¦A letter came (in "May").¦Mr. Bean read it.
Turn to p. 12 and to Vol. II of it.
J. R. R. Tolkien wrote it, and A. A. Milne did not.
It was written by W. H. Auden in 1939. ¦It is short.
Pi is 3.14 and e is 2.718. ¦Both go on.
It cost $3.50. ¦She paid.
It ended in 1990. ¦The next began in 1991.
Version 2.0.1 of Node.js reads a.b/c?d=e&f in www.example.com now.
Apple Inc. made it, and Smith & Co. sold it.
He works for Apple Inc. ¦She works for Acme Ltd. ¦They meet.
Sold by Acme Inc. Tokyo and by Baker Bros. London.
"Why?" he asked. ¦"Because I said so." ¦She left.
"I left." ¦Tom did too.
He said, "Go!" ¦Then he went.
(He left early.) ¦She stayed (until ten). ¦Done.
“Is it true?” she asked. ¦“It is.”
He asked 'why?' and left.
It began at 5 p.m. Monday. ¦It ended at 6 a.m. ¦We slept.
Ms. Ray has a Ph.D. from Yale. ¦He has none.
On Jan. 5 and on Sept. 11 it rained.
Smith et al. (2018) say so. ¦Jones v. Smith says no.
We saw lions, bears, etc. in the zoo. ¦We saw cats, etc. ¦That was all.
It is so.[1] ¦Others doubt it.[2][3]
1. Open the box. ¦2. Take it out.
A. Open the box.
Yahoo! News said so. ¦Is Yahoo! a firm?
a line\n¦another line without a stop\n¦the third
one\r\n¦two\n\n¦three
a good film. ¦The end.
It was a fine film.¦The end was not.¦I left.¦Good!¦Bye.
numpy.array and System.Console stay, as does Foo.Bar.
It uses .NET; then C++; and so on.
i loved it. ¦it was great! ¦really? ¦yes.
What a day! ¦so it goes.
The ellipsis . . . is spaced.
Really??? ¦Yes!!!
It was plan B. ¦Then came plan C.
World War I. ¦The peace.
Dr. No is a film.
""".strip().splitlines()

CHINESE = r"""
你好。¦我叫小明。
你叫什么名字？¦我叫小红。
站住！¦别动！
什么？！¦不可能！！！
他说：“你好。”¦然后走了。
“你好！”¦他笑了。
“你好！”，他说。
「你要去哪裡？」¦她問道。
『走吧。』¦他站起來。
“加油！”的喊声响起。
苹果、香蕉（还有梨！）等都卖完了。
他来了（昨天到的。）¦我没看见。
【今天休息。】¦明天再来。
春天来了；¦花开了。
他想了想……¦还是没说。
等等…¦再说一次。
我看了《你好！李焕英》。¦很好看。
《谁动了我的奶酪？》是一本书。
你好.¦再见!¦走吧?¦好;¦行
今天很好. ¦Python 很好
价格是3.14元。¦涨了2.5%。
他用 Python 3.12 写了 a.py 文件。
见http://a.cn/b?c=d页面。
第一行\n¦第二行没有标点\n¦第三行
他说OK!¦我们走吧。
Yahoo!奇摩是網站。
Mr.王来了。 ¦Dr. 李也来了。
我喜欢 Filbert. ¦它很小。
王小姐说:"好的。"¦她走了。
真的?¦Yes! ¦是吗
一。¦二｡¦三．¦四
他说“是。”¦他又说“不！”¦“为什么？”
１．５倍。¦第１．２节。
今日は晴れです。¦明日は？¦「雨だ。」
I love 北京. ¦上海 too! ¦Really.
""".strip().splitlines()


ALPHABET = [
    *"ab A.B!?…。！？；\"'”’」）)] \n\r\t\u3000\u2028中文3.",
    "<br />",
    "《",
    "》",
    "Mr.",
    "\ud800",
    "👍",
    "[1]",
]


@pytest.mark.parametrize("case", [*ENGLISH, *CHINESE])
def test_where_sentences_end(case: str) -> None:
    """`¦` stands where the next sentence begins."""
    pieces = case.replace("\\n", "\n").replace("\\r", "\r").split("¦")
    assert split("".join(pieces)) == [piece.strip() for piece in pieces]


def test_a_break_spelled_out_is_a_line_break() -> None:
    assert split("a good film<br /><br />the <b>end</b> <BR>") == ["a good film", "the <b>end</b>"]


@pytest.mark.parametrize("text", ["", " \n\u3000\t\r\n"])
def test_no_sentence(text: str) -> None:
    assert split(text) == []


@pytest.mark.parametrize("word", ["p", "No", "U.S", "Mr", "J", "Inc", "e.g", "1", "好"])
@pytest.mark.parametrize("end", [". ", ".", ".\n", ". \u3000"])
def test_the_text_may_end_anywhere(word: str, end: str) -> None:
    assert split(f"Ann saw {word}{end}") == [f"Ann saw {word}."]


def assert_nothing_is_lost(text: str) -> None:
    end = 0
    for begin, stop in spans(text):
        assert begin < stop
        assert not text[end:begin].replace("<br />", "").strip()
        assert text[begin:stop] == text[begin:stop].strip()
        end = stop
    assert not text[end:].replace("<br />", "").strip()
    assert split(text) == [text[begin:stop] for begin, stop in spans(text)]


def test_nothing_is_lost_whatever_the_text() -> None:
    choose = random.Random(0)
    for _ in range(3000):
        assert_nothing_is_lost("".join(choose.choices(ALPHABET, k=choose.randrange(40))))


def test_line_breaks_always_end_a_sentence() -> None:
    choose = random.Random(1)
    for _ in range(1000):
        text = "".join(choose.choices(ALPHABET, k=30))
        assert not any(set(sentence) & set("\n\r\u2028") for sentence in split(text))


@pytest.mark.parametrize("unit", ["a.", "《", "“", ". ", "<br />", "……", "[1", "Mr. ", "at 5. 5 ", ". . ", "   "])
def test_time_grows_with_the_text_only(unit: str) -> None:
    began = time.process_time()
    split(unit * 50_000)
    assert time.process_time() - began < 2  # about 0.1 s; a quadratic rule takes minutes


@pytest.mark.parametrize("language", ["en", "zh"])
def test_real_paragraphs(real_data, language: str) -> None:
    """An answer of XQuAD lies within one sentence, but for a few that span two; the text is covered."""
    told = json.loads((real_data("xquad") / f"xquad.{language}.json").read_text(encoding="utf-8"))
    paragraphs = [paragraph for article in told["data"] for paragraph in article["paragraphs"]]
    lengths = []
    inside = answers = 0
    for paragraph in paragraphs:
        text = paragraph["context"]
        assert_nothing_is_lost(text)
        found = spans(text)
        lengths += [stop - begin for begin, stop in found]
        for question in paragraph["qas"]:
            for answer in question["answers"]:
                first = answer["answer_start"]
                last = first + len(answer["text"])
                inside += any(begin <= first and last <= stop for begin, stop in found)
                answers += 1
    assert inside / answers > 0.99
    assert (100 if language == "en" else 20) < sum(lengths) / len(lengths) < (200 if language == "en" else 60)
