"""What MkDocs does not do by itself: the navigation, README as the first page, source files as pages, and formulas.

Pages link to each other as they lie in the repository. A link to a page of docs/ stays one; a link to anything else, a
source file, a folder, CHANGELOG.md, leads to a page that is made of it. From the Chinese site it leads to the English
one. Formulas between dollar signs become MathML, so that no script is needed; lines of Chinese are joined without a
blank. The names are those of MkDocs' hooks.
"""

from __future__ import annotations

import html
import posixpath
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
FENCED = re.compile(r"(^```.*?^```)", re.M | re.S)
LINK = re.compile(r"(?<=\]\()([^)\s]+)(?=\))")
HAN = "[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef“”‘’]"
BROKEN = re.compile(rf"(?<={HAN})\n *(?={HAN})")  # a line break that HTML would show as a blank between characters
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.S)
SECTIONS = {
    "en": {"tutorial": "Tutorial", "guides": "Guides", "reference": "Reference", "project": "Project"},
    "zh": {"tutorial": "教程", "guides": "指南", "reference": "参考（英文）", "project": "项目（英文）"},
}
BEGIN = ("spreadsheets", "chinese", "few-labels", "several-labels", "long-documents", "medical-legal", "questions")
TOPICS = {  # pages of docs/ itself, by section
    "tutorial": (),
    "guides": ("doctor", "explain", "export", "serving", "recipes"),
    "reference": ("commands", "reliability"),
    "project": ("how-it-works", "log"),
}
PROJECT = ("bench/RESULTS.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")  # outside docs/, pages of their own
LANGUAGES = {"": "text", ".py": "python", ".toml": "toml", ".h": "cpp", ".cpp": "cpp", ".yml": "yaml", ".css": "css"}


def language(config: Any) -> str:
    return "zh" if Path(config.docs_dir).name == "zh" else "en"


# ---- navigation: sections by folder, so that a new page is in it ----


def on_config(config: Any) -> Any:
    """Put the navigation together."""
    folder, names = Path(config.docs_dir), SECTIONS[language(config)]
    seen = {"index.md"}
    nav: list[Any] = ["index.md"]
    for section, name in names.items():
        pages = ordered(section, [page for page in (folder / section).glob("*.md")])
        pages += [folder / f"{each}.md" for each in TOPICS[section] if (folder / f"{each}.md").exists()]
        found: list[Any] = [page.relative_to(folder).as_posix() for page in pages]
        seen |= set(found)
        if section == "project" and language(config) == "en":
            found += [source_page(path) for path in PROJECT]
        if section in ("reference", "project") and language(config) == "zh":
            found = [{title(page): f"../{page.relative_to(DOCS).with_suffix('.html')}"} for page in english(section)]
        if found:
            nav.append({name: found})
    left = {page.relative_to(folder).as_posix() for page in folder.rglob("*.md")} - seen
    left = {page for page in left if not page.startswith("zh/")}
    if left:
        raise PluginError(f"pages in no section of the navigation: {', '.join(sorted(left))} — see docs/site_hooks.py")
    config.nav = nav
    return config


def ordered(section: str, pages: list[Path]) -> list[Path]:
    """Return the pages of a section in their order: an index first, then by number, or as guides are begun with."""
    rank = {name: place for place, name in enumerate(BEGIN)}
    return sorted(pages, key=lambda page: (page.stem != "index", rank.get(page.stem, len(rank)), page.name))


def english(section: str) -> list[Path]:
    return [*ordered(section, [*(DOCS / section).glob("*.md")]), *(DOCS / f"{each}.md" for each in TOPICS[section])]


def title(page: Path) -> str:
    found = re.search(r"^# (.+)", page.read_text("utf-8"), re.M)
    return found[1] if found else page.stem


# ---- files: README is the first page, and each file that is linked to has one ----


def on_files(files: Any, config: Any) -> Any:
    """Add the first page and, to the English site, pages of what lies outside docs/."""
    readme = "README.zh-CN.md" if language(config) == "zh" else "README.md"
    files.append(made("index.md", readme, (ROOT / readme).read_text("utf-8"), config))
    if language(config) == "en":
        for page in [DOCS / "zh" / "index.md", *(DOCS / "zh").rglob("*.md")]:  # the Chinese site comes in their place
            files.append(File.generated(config, page.relative_to(DOCS).with_suffix(".html").as_posix(), content=""))
        todo, done = sorted(linked()), set()
        while todo:
            path = todo.pop()
            if path in done:
                continue
            done.add(path)
            files.append(made(source_page(path), path, text_of(path), config))
            todo += [each for each in targets(path) if outside(each)] if path.endswith(".md") else []
    return files


def made(uri: str, origin: str, text: str, config: Any) -> File:
    found = File.generated(config, uri, content=text)
    found.origin = origin  # type: ignore[attr-defined]
    return found


def linked() -> set[str]:
    """Return the files outside docs/ that any page links to, in either language."""
    pages = [ROOT / "README.md", ROOT / "README.zh-CN.md", *DOCS.rglob("*.md")]
    found = {each for page in pages for each in targets(page.relative_to(ROOT).as_posix())}
    return {each for each in found if outside(each)} | set(PROJECT)


def targets(path: str) -> list[str]:
    """Return what a page links to, as paths in the repository."""
    prose = "".join(FENCED.split((ROOT / path).read_text("utf-8"))[::2])
    links = [link for link in LINK.findall(prose) if "://" not in link and not link.startswith(("#", "mailto:"))]
    return [resolved(path, link.split("#")[0]) for link in links]


def resolved(page: str, link: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(page), link))


def outside(path: str) -> bool:
    return not path.startswith("docs/") and path not in ("docs", "README.md", "README.zh-CN.md")


def source_page(path: str) -> str:
    return f"source/{path.removesuffix('.md').replace('/', '-')}.md"


def text_of(path: str) -> str:
    """Return the page of a file: as it is where it is Markdown, else its lines; of a folder, what is in it."""
    found = ROOT / path
    if found.suffix == ".md":
        return found.read_text("utf-8")
    if found.is_dir():
        names = sorted(each.name + "/" * each.is_dir() for each in found.iterdir() if shown(each))
        return f"# {path}\n\n" + "\n".join(f"- `{name}`" for name in names) + "\n"
    return f"# {path}\n\n````{LANGUAGES.get(found.suffix, 'text')}\n{found.read_text('utf-8').rstrip()}\n````\n"


def shown(path: Path) -> bool:
    return path.name[0] not in "._" and path.suffix not in (".pyc", ".so") and path.name != "__pycache__"


# ---- pages ----


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Lead each link to where its target is on the site."""
    folder = Path(config.docs_dir).relative_to(ROOT).as_posix()
    origin = getattr(page.file, "origin", f"{folder}/{page.file.src_uri}")
    parts = FENCED.split(markdown)
    for i in range(0, len(parts), 2):
        prose = BROKEN.sub("", parts[i])
        parts[i] = LINK.sub(lambda found: led(found[1], origin, page.file.src_uri, language(config)), prose)
    for i in range(1, len(parts), 2):
        parts[i] = re.sub(r"^(```\w+) [^\n]*", r"\1", parts[i])  # what stands behind the language is for tests
    return "".join(parts)


def led(link: str, origin: str, uri: str, where: str) -> str:
    """Return a link from the page `uri` of the site in a language; `origin` is its file in the repository."""
    if "://" in link or link.startswith(("#", "mailto:")):
        return link
    path, mark, anchor = link.partition("#")
    target = resolved(origin, path)
    if not (ROOT / target).exists():
        raise PluginError(f"{origin}: {link} is not there")
    if where == "zh" and (inside := in_zh(target)):
        return relative(inside, uri) + mark + anchor
    found = in_english(target)
    if where == "zh":
        found = f"../{found}"  # as seen from the Chinese site's first page
        return re.sub(r"\.md$", ".html", relative(found, uri)) + mark + anchor
    return relative(found, uri) + mark + anchor


def in_zh(target: str) -> str:
    return "index.md" if target == "README.zh-CN.md" else target[8:] if target.startswith("docs/zh/") else ""


def in_english(target: str) -> str:
    """Return the page, or the file, of the English site that a path of the repository has."""
    if target == "README.md":
        return "index.md"
    if target == "README.zh-CN.md" or target.startswith("docs/zh/"):
        return f"zh/{in_zh(target)}".replace(".md", ".html")
    if target == "docs":
        return "guides/spreadsheets.md"
    return source_page(target) if outside(target) else target.removeprefix("docs/")


def relative(target: str, uri: str) -> str:
    return posixpath.relpath(target, posixpath.dirname(uri) or ".")


def on_page_content(text: str, page: Any, config: Any, files: Any) -> str:
    """Turn formulas into MathML."""
    return FORMULA.sub(formula, text)


def formula(found: re.Match[str]) -> str:
    display = "block" if found[1] == "div" else "inline"
    return f'<{found[1]} class="arithmatex">{convert(html.unescape(found[2]), display=display)}</{found[1]}>'
