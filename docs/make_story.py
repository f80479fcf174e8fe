"""Run the commands of README.md and write what they print, and a picture of report and server, into both READMEs.

    python docs/make_story.py [MODEL]

Needs Chromium and minutes: a model is trained on the sample reviews, unless MODEL is the folder of one that was; then
the pictures alone are made. What is run are the lines after `$` in the blocks of README.md that are marked `console`.
`tests/test_readme.py` runs them again and compares what does not change from machine to machine.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGES = {"en": ROOT / "README.md", "zh": ROOT / "README.zh-CN.md"}
BLOCK = re.compile(r"```console\n(.*?)```", re.S)
PICTURES = {"en": ROOT / "docs" / "images" / "filbert.png", "zh": ROOT / "docs" / "images" / "filbert.zh.png"}
MODEL, PORT = "runs/reviews_en", 8080
TYPED = "Not the cheapest plumber in town, and worth every penny."
PROGRESS = re.compile(r"validation after |fitting the baseline|reading |http://.* — the page|$")
FRAME = """<body style="margin:0;padding:24px;background:{back};display:flex;align-items:flex-start;gap:24px">{shots}"""
SHOT = """<img src="{0}" style="width:664px;border:1px solid #8884;border-radius:8px;box-shadow:0 4px 16px #0003">"""


def commands(page: Path = PAGES["en"]) -> list[list[str]]:
    """Return the commands of each block."""
    blocks = BLOCK.findall(page.read_text("utf-8"))
    return [[line[2:] for line in block.splitlines() if line.startswith("$ ")] for block in blocks]


def answers(folder: Path, edit: Callable[[str], str] = lambda command: command) -> Iterator[tuple[str, list[str]]]:
    """Run the commands one after the other in a folder → each with the lines it printed; `edit` may change what runs.

    A server runs on beside the commands after it, and ends with the last of them.
    """
    (folder / "filbert").mkdir(exist_ok=True)
    with contextlib.suppress(FileExistsError):
        (folder / "filbert" / "samples").symlink_to(ROOT / "filbert" / "samples")
    with tempfile.TemporaryDirectory() as programs, contextlib.ExitStack() as running:
        script = Path(programs) / "filbert"
        script.write_text(f'#!/bin/sh\nexec {sys.executable} -m filbert "$@"\n')
        script.chmod(0o755)
        environment = {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "100"}
        environment |= {"PYTHONPATH": str(ROOT), "LANG": "C.UTF-8"}
        for command in (each for block in commands() for each in block):
            if "filbert serve" in command:
                yield command, running.enter_context(served(edit(command), folder, environment))
                continue
            ran = subprocess.run(
                edit(command), shell=True, cwd=folder, env=environment, capture_output=True, text=True, check=False
            )
            assert ran.returncode == 0, f"{command}\n{ran.stderr}"
            yield command, [*ran.stderr.splitlines(), *ran.stdout.splitlines()]


@contextlib.contextmanager
def served(command: str, folder: Path, environment: dict[str, str]) -> Iterator[list[str]]:
    """Start a server, yield what it says until it answers, and end it afterwards."""
    with (folder / "serve.txt").open("w+") as said:
        server = subprocess.Popen(
            ["sh", "-c", f"exec {command}"], cwd=folder, env=environment, stdout=said, stderr=said
        )
        try:
            while "http://" not in (told := (folder / "serve.txt").read_text("utf-8")):
                assert server.poll() is None, told
                time.sleep(0.2)
            yield told.splitlines()
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(30)


def stable(line: str) -> str:
    """Return what is the same on every machine: the words of a line, without numbers and bars.

    >>> stable("  positive  98.8 %  ███████▊")
    'positive # %'
    """
    return " ".join(re.sub(r"[▏▎▍▌▋▊▉█]+", "", re.sub(r"[-+−]?\d[\d.,]*(?:e-\d+)?", "#", line)).split())


def shown(command: str, lines: list[str]) -> list[str]:
    """Return the lines that stand in the README: without progress, blank lines and what only repeats."""
    kept = [line.rstrip() for line in lines if not PROGRESS.match(line)]
    if " fit " not in command:
        return kept
    wanted = ("  columns", "  task", "  rows", "  texts", "base ", "validation, ", "accuracy", "macro-F1", "MCC")
    wanted += ("better than", "no clear", "Blend", "No blend", "blend", "report  ")
    return [line for line in kept if line.startswith(wanted)]


def write(found: list[tuple[str, list[str]]]) -> None:
    """Put the answers below the commands of both pages, which have the same blocks."""
    for page in PAGES.values():
        told = iter(found)

        def block(match: re.Match[str], told: Iterator[tuple[str, list[str]]] = told) -> str:
            lines = []
            for _ in re.findall(r"^\$ ", match[1], re.M):
                command, answer = next(told)
                lines += [f"$ {command}", *shown(command, answer)]
            return "```console\n" + "\n".join(lines) + "\n```"

        page.write_text(BLOCK.sub(block, page.read_text("utf-8")), encoding="utf-8")


def pictures(folder: Path, port: int = PORT) -> None:
    """Write a picture of report and page for each language, from the model in a folder and a server that runs."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for language, picture in PICTURES.items():
            subprocess.run(
                [sys.executable, "-m", "filbert", "report", MODEL, "--language", language, "--overwrite"],
                cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True, capture_output=True,
            )  # fmt: skip
            locale = "zh-CN" if language == "zh" else "en"
            page = browser.new_page(viewport={"width": 780, "height": 640}, locale=locale)
            page.goto((folder / MODEL / "report.html").resolve().as_uri())
            page.screenshot(path=str(folder / "report.png"))
            page.goto(f"http://127.0.0.1:{port}/")
            ask(page, TYPED)
            page.screenshot(path=str(folder / "page.png"))
            page.set_viewport_size({"width": 1400, "height": 400})
            shots = "".join(SHOT.format((folder / name).resolve().as_uri()) for name in ("report.png", "page.png"))
            (folder / "both.html").write_text(FRAME.format(back="#f4f4f2", shots=shots))
            page.goto((folder / "both.html").resolve().as_uri())
            picture.parent.mkdir(exist_ok=True)
            page.screenshot(path=str(picture), full_page=True)
            page.close()
        browser.close()
    for picture in PICTURES.values():
        smaller(picture)


def ask(page: Any, text: str) -> None:
    """Type a text into the server's page and wait for its answer."""
    page.locator("textarea").first.fill(text)
    page.keyboard.press("Control+Enter")
    page.wait_for_timeout(1500)


def smaller(picture: Path) -> None:
    """Write a picture with 64 colours, where Pillow is installed: a third of its size."""
    with contextlib.suppress(ModuleNotFoundError):
        from PIL import Image

        Image.open(picture).convert("RGB").quantize(64, dither=Image.Dither.NONE).save(picture, optimize=True)


def reachable(port: int = PORT) -> bool:
    """Say whether a server is at a port already, which must not be ours to ask."""
    try:
        http.client.HTTPConnection("127.0.0.1", port, timeout=1).connect()
    except OSError:
        return False
    return True


def main() -> None:
    if reachable():
        sys.exit(f"port {PORT} is taken: end what is there first")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if len(sys.argv) > 1:
            shutil.copytree(sys.argv[1], folder / MODEL)
        found = []
        for command, lines in answers(folder, lambda command: "true" if given(command) else command):
            found.append((command, lines))
            if command == commands()[-1][-1]:
                pictures(folder)
        if len(sys.argv) == 1:
            write(found)


def given(command: str) -> bool:
    return len(sys.argv) > 1 and " fit " in command


if __name__ == "__main__":
    main()
