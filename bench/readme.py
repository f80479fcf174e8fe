"""Write the tables of README.md and README.zh-CN.md, between their markers, from the records in bench/results/.

    python bench/readme.py

`bench/tables.py` does it, too. Imports nothing that is not Python's own, so that a test compares the pages with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean, stdev

from records import HERE, Row, read

PAGES = {"en": HERE.parent / "README.md", "zh": HERE.parent / "README.zh-CN.md"}
START, END = "<!-- tables of bench/readme.py -->", "<!-- end of the tables -->"
SETS = {  # of bench/results, in this order: what the texts are, and the figure
    "sst2": ("film sentences, 2 classes", "电影短句，2 类", "accuracy"),
    "imdb": ("film reviews, 2 classes", "影评，2 类", "accuracy"),
    "trec6": ("questions, 6 classes", "问题，6 类", "accuracy"),
    "clinc150": ("intents, 150 classes", "意图，150 类", "accuracy"),
    "20newsgroups": ("long messages, 20 classes", "长邮件，20 类", "accuracy"),
    "chnsenticorp": ("Chinese reviews, 2 classes", "中文评论，2 类", "accuracy"),
    "tnews": ("Chinese headlines, 15 classes", "中文新闻标题，15 类", "accuracy"),
    "mrpc": ("pairs: the same meaning?", "文本对：意思相同吗", "accuracy"),
    "stsb": ("pairs: how alike, 0 to 5", "文本对：相似度 0–5", "pearson"),
    "goemotions": ("emotions, several a text", "情绪，多标签", "macro_f1"),
    "unfair_tos": ("unfair terms, several a sentence", "不公平条款，多标签", "macro_f1"),
    "afqmc": ("Chinese pairs: the same question?", "中文问题对", "accuracy"),
}
CHINESE = ("chnsenticorp", "tnews", "afqmc")  # from filbert-mini; the others from minilm
FIGURES = {"macro_f1": "macro-F1", "pearson": "Pearson"}  # where it is not accuracy
WORDS = {  # what stands in the Chinese page for what stands in the English one
    "test set": "测试集",
    "texts": "文本",
    "TF-IDF + logistic regression": "TF-IDF + 逻辑回归",
    "`transformers`, same base": "`transformers`，同一基础模型",
    "training, two cores": "训练时间，两核",
    "min": "分钟",
    "Pearson": "皮尔逊",
    "seeds": "个种子",
    "work": "工作",
    "beside": "对比对象",
    "CPU with bf16 and VNNI": "有 bf16 与 VNNI 的 CPU",
    "CPU with AVX2 alone": "仅有 AVX2 的 CPU",
    "fine-tuning, long texts": "微调，长文本",
    "fine-tuning, sentences": "微调，短句",
    "pre-training": "预训练",
    "scoring, sentences": "预测，短句",
    "scoring, long reviews": "预测，长影评",
    "one text of 128 tokens": "一条 128 词元的文本",
    "`transformers`, its defaults": "`transformers` 默认设置",
    "`transformers`, tuned by hand": "`transformers` 手工调优",
    "OpenVINO in int8": "OpenVINO int8",
    "`transformers` in fp32": "`transformers` fp32",
}


def tables(language: str) -> str:
    """Return all that stands between the markers of a page."""
    parts = [*accuracy(language), "", *speed(language), "", *server(language)]
    return "\n".join(parts)


def said(word: str, language: str) -> str:
    return WORDS.get(word, word) if language == "zh" else word


def header(columns: Sequence[str], language: str) -> list[str]:
    return [f"| {' | '.join(said(each, language) for each in columns)} |", "|---" * len(columns) + "|"]


def accuracy(language: str) -> list[str]:
    """Return a line for each set: Filbert, its linear baseline, transformers where measured; the best in bold."""
    columns = ["test set", "texts", "Filbert", "TF-IDF + logistic regression", "`transformers`, same base"]
    lines = header([*columns, "training, two cores"], language)
    for name, (english, chinese, figure) in SETS.items():
        found = of_accuracy(name) or of_encoders(name) or of_shapes(name, figure)
        if found is None:
            continue
        ours, linear, sampled, minutes = found
        what = chinese if language == "zh" else english
        notes = [FIGURES[figure]] if figure in FIGURES else []
        sample = f"抽样 {sampled:,}" if language == "zh" else f"{sampled:,} sampled"
        notes += [sample] if sampled else []
        notes += ["`filbert-mini`"] if name in CHINESE else []
        what = ("，" if language == "zh" else ", ").join([what, *(said(note, language) for note in notes)])
        sides = [ours, linear, of_loops(name)]
        best = max(mean(values) for values, _ in sides if values)
        cells = [shown(values, row, best, language) for values, row in sides]
        took = f"{minutes:.0f} {said('min', language)}" if minutes else ""
        lines.append(f"| {' | '.join([name, what, *cells, took])} |")
    return lines


Side = tuple[list[float], "Row | None"]  # the figure of each seed; of one seed its interval
Found = tuple[Side, Side, int, float]  # Filbert, the linear baseline, texts of a sample or 0, minutes of training


def shown(values: Sequence[float], row: Row | None, best: float, language: str) -> str:
    """Return a cell: the mean over seeds, or the figure with its interval."""
    if not values:
        return ""
    found = f"{100 * mean(values):.1f}"
    found = f"**{found}**" if mean(values) == best else found
    if len(values) == 1 and row:
        return f"{found} [{100 * row['low']:.1f}, {100 * row['high']:.1f}]"
    return f"{found} ± {100 * stdev(values):.1f} ({len(values)} {said('seeds', language)})"


def of_accuracy(name: str) -> Found | None:
    rows = [row for row in records("accuracy.jsonl") if row["set"] == name and row["base"] == "minilm"]
    return (one(rows[-1]["test"]), one(rows[-1]["baseline"]), 0, minutes_of(rows)) if rows else None


def of_encoders(name: str) -> Found | None:
    """Return the newest figures of filbert-mini on a Chinese set, trained on as many texts as there are."""
    rows = [row for row in records("encoders.jsonl") if row["set"] == name and name in CHINESE]
    ours = [r for r in rows if r["base"] == "filbert-mini" and (r["settings"] or {}).get("optimizer") == "muon"]
    if not ours:
        return None
    most = max(row["limit"] for row in ours)
    ours = [row for row in ours if row["limit"] == most and row["weights"] == ours[-1]["weights"]]
    linear = [row for row in rows if row["base"] == "tfidf" and row["limit"] == most][-1]
    return ([row["accuracy"]["value"] for row in ours], None), one(linear["accuracy"]), 0, minutes_of(ours)


def of_shapes(name: str, figure: str) -> Found | None:
    """Return the newest figures of another shape: of all texts where they were fitted, else of the largest sample."""
    rows = [r for r in records("shapes.jsonl") if r["set"] == name and r["who"] == "filbert" and not r["left_out"]]
    if not rows:
        return None
    most = max(row.get("texts") or 10**9 for row in rows)
    rows = [row for row in rows if (row.get("texts") or 10**9) == most]
    same = [*{row["seed"]: row for row in rows}.values()]
    linear = [row["baseline"][figure] for row in same if row.get("baseline")]
    values = [row["scores"][figure]["value"] for row in same]
    return (
        (values, same[-1]["scores"][figure]),
        one(linear[-1]) if linear else ([], None),
        rows[-1].get("texts") or 0,
        0.0,
    )


def of_loops(name: str) -> Side:
    """Return what a loop of `transformers` reached from the same base, at the same rates, and in as many passes."""
    rows = [row for row in records("train_accuracy.jsonl") if row["set"] == name and "transformers" in row["base"]]
    return [row["accuracy"]["value"] for row in rows], rows[-1]["accuracy"] if rows else None


def one(figure: Row) -> Side:
    return [figure["value"]], figure


def minutes_of(rows: Sequence[Row]) -> float:
    return float(rows[-1]["training"]["seconds"]) / 60


def speed(language: str) -> list[str]:
    """Return how many times as fast as others each kind of work is, on both kinds of processors."""
    lines = header(["work", "beside", "CPU with bf16 and VNNI", "CPU with AVX2 alone"], language)
    besides = {"`transformers`, its defaults": "ratio", "`transformers`, tuned by hand": "ratio_to_tuned"}
    for work, (file, keep) in {
        "fine-tuning, long texts": ("train_speed.jsonl", {"mix": "long"}),
        "fine-tuning, sentences": ("train_speed.jsonl", {"mix": "short"}),
        "pre-training": ("pretrain_speed.jsonl", {}),
    }.items():
        rows = [row for row in records(file) if row.get("shape", "minilm") == "minilm" and keep.items() <= row.items()]
        for beside, key in besides.items():
            both = [
                ratios([row[key]["filbert, default"] for row in rows if row["bf16"] is bf16 and row.get(key)])
                for bf16 in (True, False)
            ]
            lines.append(f"| {said(work, language)} | {said(beside, language)} | {' | '.join(both)} |")
    scored = {row["set"]: row for row in records("predict_speed.jsonl") if row["name"] == "minilm" and row["bf16"]}
    for work, name in (("scoring, sentences", "sst2"), ("scoring, long reviews", "imdb")):
        if name in scored:
            found = scored[name]["speed"]
            ratio = ratios([found["filbert, int8"] / found["openvino, int8"]])
            lines.append(f"| int8 {said(work, language)} | {said('OpenVINO in int8', language)} | {ratio} | |")
    if "sst2" in scored:
        took = scored["sst2"]["milliseconds"]
        ours, theirs = took["filbert, int8"]["128"], took["transformers, fp32"]["128"]
        cell = f"{theirs / ours:.1f} × ({ours:.1f} ms / {theirs:.1f} ms)"
        work = said("one text of 128 tokens", language)
        lines.append(f"| int8 {work} | {said('`transformers` in fp32', language)} | {cell} | |")
    return lines


def server(language: str) -> list[str]:
    """Return the sentence on the most requests that are answered in time."""
    rows = [row for row in records("serve_load.jsonl") if row["set"] == "sst2" and row["phase"] == "rate"]
    newest = {(row["side"], row["precision"]): row for row in rows}
    for precision in ("int8", "fp32"):
        ours, theirs = newest.get(("filbert", precision)), newest.get(("fastapi", "fp32"))
        if ours and theirs:
            rates = f"{ours['offered']:.1f}", f"{theirs['offered']:.1f}"
            if language == "zh":
                return [
                    f"同一台机器、99 % 的请求在 100 ms 内回答：服务端（{precision}）每秒 {rates[0]} 个请求，FastAPI 加",
                    f"`transformers` pipeline 为 {rates[1]} 个（sst2）。",
                ]
            return [
                f"With 99 % of requests answered within 100 ms, the server ({precision}) takes {rates[0]} requests/s,",
                f"FastAPI with a `transformers` pipeline {rates[1]}, on the same machine (sst2).",
            ]
    return []


def ratios(values: Sequence[float]) -> str:
    """Return the span of the last three measurements."""
    low, high = (f"{end(values[-3:]):.1f}" for end in (min, max)) if values else ("", "")
    return "" if not values else f"{low} ×" if low == high else f"{low}–{high} ×"


def records(name: str) -> list[Row]:
    return read(HERE / "results" / name)


def filled(language: str) -> str:
    """Return a page with its tables made anew."""
    before, rest = PAGES[language].read_text(encoding="utf-8").split(START)
    return f"{before}{START}\n\n{tables(language)}\n\n{END}{rest.split(END)[1]}"


def main() -> None:
    for language, page in PAGES.items():
        page.write_text(filled(language), encoding="utf-8")


if __name__ == "__main__":
    main()
