"""Whatever ends a command, told: one sentence on stderr, one exit code, never a traceback.

    guarded(run)   streams and arguments made usable → run → what was raised, told → stdout flushed → exit

    0 done · 2 input, model or option is wrong · 1 anything else · 128 + n stopped by signal n · 141 the reader is gone

The traceback of an error that nobody foresaw is kept in a file, and its name is said. Nothing heavy is imported here: a
signal that comes while the other modules load has to find this one ready.
"""

from __future__ import annotations

import codecs
import errno
import io
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import FrameType
from typing import Any, NoReturn, Protocol, TextIO, runtime_checkable

from filbert.errors import DataError, FilbertError, Stopped, TrainingError, missing, out_of_memory, safe, shown
from filbert.language.terminal import terminal, translated
from filbert.version import __version__

READER_GONE = 128 + 13  # as a shell says of a process that SIGPIPE ended
ADVICE = {
    errno.ENOSPC: "make room on the disk, then repeat the command",
    errno.EDQUOT: "make room in your quota, then repeat the command",
    errno.EFBIG: "raise the limit on file sizes (ulimit -f), or write somewhere else",
    errno.EACCES: "check its permissions, or choose another place",
    errno.EPERM: "check its permissions, or choose another place",
    errno.EROFS: "choose a place that can be written",
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "check the path: a part of it is a file",
    errno.EISDIR: "give a file, not a folder",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EMFILE: "raise the limit on open files: ulimit -n 4096",
    errno.ELOOP: "check the links in the path",
}
MEMORY = (
    "close other programs, choose a smaller model, or shorten what is worked on at once: --max-length, --batch-size, "
    "rows of very long texts"
)


_signals: list[int] = []  # that have come: what is raised after one is the end that it asked for


def guarded(run: Callable[[Sequence[str]], int]) -> NoReturn:
    """Run this process's command line and end the process with the exit code that `run` returns, or raises.

    >>> guarded(lambda words: print(words) or 0)  # doctest: +SKIP
    ['predict', 'runs/reviews', 'new.csv']
    """
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _stop)
        _open_streams()
        sys.argv[1:] = _decoded(sys.argv[1:])
        code = run(sys.argv[1:])
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException as error:
        code = told(error, as_json="--json" in sys.argv)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)  # what is left is Python's own: an exception there would be a traceback
    sys.exit(_flushed(code))


def told(error: BaseException, *, as_json: bool = False, command: str = "filbert") -> int:
    """Say what went wrong, on stderr and with `as_json` as the one object on stdout, and return the exit code.

    `command` is what needs a package that is not installed.

    >>> told(KeyboardInterrupt())
    130
    """
    if isinstance(error, BrokenPipeError):  # `filbert … | head`: the reader has seen enough
        return READER_GONE
    if isinstance(error, KeyboardInterrupt) or _signals:
        return 128 + getattr(error, "number", (*_signals, signal.SIGINT)[0])
    if isinstance(error, UsageError):
        return _usage(error, as_json=as_json)
    error = missing(error, command) or error
    if os.environ.get("FILBERT_DEBUG"):
        say("".join(traceback.format_exception(error)).rstrip())
    line = sentence(error)
    say(f"error: {line}")
    if as_json:
        with suppress(OSError):  # stdout itself may be what is wrong, and stderr has said so
            print_json({"error": {**_facts(error), "message": line}})
    return 2 if isinstance(error, FilbertError) and not isinstance(error, TrainingError) else 1


def print_json(value: Mapping[str, Any]) -> None:
    """Print the one object that --json puts on stdout, on one line; escaped where stdout cannot hold all characters.

    >>> print_json({"label": "正面"})
    {"label": "正面"}
    """
    print(json.dumps(value, ensure_ascii=codecs.lookup(sys.stdout.encoding or "utf-8").name != "utf-8"), flush=True)


@runtime_checkable
class UsageError(Protocol):
    """Typer's error for a command line that is none: it knows its command, and prints its usage."""

    exit_code: int

    def show(self, file: TextIO | None = None) -> None:
        """Print usage and message on stderr, or into a file."""

    def format_message(self) -> str:
        """Return what is wrong."""


def _usage(error: UsageError, *, as_json: bool) -> int:
    with suppress(OSError):
        if terminal() == "en":
            error.show()
        else:
            _show_translated(error)
    if as_json:
        with suppress(OSError):
            print_json({"error": {"type": type(error).__name__, "message": error.format_message()}})
    return error.exit_code


def _show_translated(error: UsageError) -> None:
    from filbert.language.help import refused

    error.show(told := io.StringIO())
    if text := told.getvalue().rstrip("\n"):  # none where help was asked for, which has been shown by then
        print(safe(refused(text)), file=sys.stderr, flush=True)


def say(text: str) -> None:
    """Print a line on stderr, in the language of the terminal; where that is full or closed the line is lost."""
    with suppress(OSError):
        print(safe(translated(text)), file=sys.stderr, flush=True)


def sentence(error: BaseException) -> str:
    """Return what an error says: what is wrong, where that is known, and what to do.

    >>> sentence(FileNotFoundError(2, "No such file or directory", "a.csv"))
    'a.csv — No such file or directory — check the path'
    """
    if isinstance(error, FilbertError):
        return str(error)
    if out_of_memory(error):
        return f"memory — ran out{f' ({shown(str(error))})' if str(error) else ''} — {MEMORY}"
    if isinstance(error, OSError):
        return _of_system(error)
    if isinstance(error, UnicodeEncodeError) and error.encoding not in ("utf-8", "utf-16", "utf-32"):
        what = f"{error.encoding}, the encoding of this locale, has no {shown(error.object[error.start : error.end])}"
        return f"locale — {what} — set LC_ALL=C.UTF-8, or PYTHONUTF8=1"
    kind = type(error).__name__
    if isinstance(error, ImportError):
        return f"installation — {shown(str(error), 200)} — install Filbert again; {_kept(error)}"
    return f"filbert — met an error that is not foreseen: {kind}: {shown(str(error), 200)} — {_kept(error)}"


def _of_system(error: OSError) -> str:
    """Return an error of the system as file, what and what to do."""
    if error.errno is None or not error.strerror:
        text = str(error) or type(error).__name__
        return text if " — " in text else f"{text} — check the place and the room on it, then repeat the command"
    where = error.filename
    named = "a file" if where is None else os.fsdecode(where) if isinstance(where, (str, bytes)) else str(where)
    todo = ADVICE.get(error.errno, "check the place, then repeat the command")
    return f"{named} — {error.strerror} — {todo}"


def _kept(error: BaseException) -> str:
    """Keep the traceback in a file and say where."""
    if os.environ.get("FILBERT_DEBUG"):
        return "the traceback stands above: please report it"
    import tempfile

    words = " ".join(map(ascii, sys.argv[1:]))
    text = f"filbert {__version__}, Python {sys.version}\n{words}\n\n{''.join(traceback.format_exception(error))}"
    try:
        handle, name = tempfile.mkstemp(prefix="filbert-error-", suffix=".txt")
        with open(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    except OSError:
        return "please report it: FILBERT_DEBUG=1 before the command shows the traceback"
    return f"please report it, with the traceback in {name} (it holds the command line; read it before you send it)"


def _facts(error: BaseException) -> dict[str, Any]:
    """Return what --json says of an error beside its sentence."""
    found: dict[str, Any] = {"type": type(error).__name__}
    if isinstance(error, DataError):
        found["problems"] = [
            {"file": p.place.file, "line": p.place.line, "field": p.field, "wrong": p.wrong, "todo": p.todo}
            for p in error.problems
        ]
        found["total"] = error.total
    return found


def _stop(number: int, frame: FrameType | None) -> None:
    """Raise for a signal, or, while a module loads, end the process: there the exception may be swallowed.

    numpy and others turn whatever is raised while they load into an ImportError, or catch it. Nothing is half written
    then that the next run would take for whole: files get their names when they are complete.
    """
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            os._exit(128 + number)
        frame = frame.f_back
    _signals.append(number)
    raise Stopped(number)


def _open_streams() -> None:
    """Make stdout and stderr usable: in UTF-8, and no file of ours gets the number of a stream that is closed.

    Text goes out as UTF-8, whatever the locale, unless a terminal with an encoding of its own reads it or
    PYTHONIOENCODING asks for another one. A closed stderr is nobody's loss, a closed stdout would be. A closed stdin
    stays None.
    """
    streams: Mapping[str, TextIO | None] = {"stdin": sys.stdin, "stdout": sys.stdout, "stderr": sys.stderr}
    null = {name: os.open(os.devnull, os.O_RDWR) for name, stream in streams.items() if stream is None}
    if sys.stderr is None:
        sys.stderr = open(null["stderr"], "w", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115
    if sys.stdout is None:
        sys.stdout = open(null["stdout"], "w", encoding="utf-8")  # noqa: SIM115
        raise OSError("stdout — is closed, and results go there — leave it open, or send it to a file")
    told = os.environ.get("PYTHONIOENCODING")
    for stream in () if told else (sys.stdout, sys.stderr):
        plain = codecs.lookup(stream.encoding).name == "ascii"  # the C locale's: it says nothing of the terminal
        wanted = stream.encoding if stream.isatty() and not plain else "utf-8"
        stream.reconfigure(encoding=wanted, errors="backslashreplace")  # type: ignore[union-attr]
    old, by_lines = sys.stdout, sys.stdout.isatty() or bool(os.environ.get("PYTHONUNBUFFERED"))
    raw = io.BufferedWriter(_Stdout(old.fileno(), "w", closefd=False))
    sys.stdout = io.TextIOWrapper(raw, encoding=old.encoding, errors=old.errors, line_buffering=by_lines)


class _Stdout(io.FileIO):
    """Stdout, which says so where it cannot be written."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            error.filename = "stdout"
            raise


def _decoded(words: Sequence[str]) -> list[str]:
    """Return the arguments as text; those that the locale has no encoding for are UTF-8.

    >>> _decoded(["fit", "评论.csv"])
    ['fit', '评论.csv']
    """
    found = []
    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError:
            try:
                word = os.fsencode(word).decode()
            except UnicodeError:
                todo = "rename the file; a text in another encoding can be given on stdin with --encoding"
                raise OSError(f"{word!a} — is no valid UTF-8 — {todo}") from None
        found.append(word)
    return found


def _flushed(code: int) -> int:
    """Write out what stdout still holds and return the exit code; what cannot be written is said here."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError) as error:
            if code == 0 and stream is sys.stdout:
                code = told(error)
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    return code
