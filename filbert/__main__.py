"""The command `filbert`, `python -m filbert`, and what `torchrun -m filbert` starts."""

from collections.abc import Sequence

from filbert.failures import guarded


def main() -> None:
    """Run the command line and end the process; a signal that comes while the commands load ends it, too."""
    guarded(_run)


def _run(words: Sequence[str]) -> int:
    from filbert.cli import run

    return run(words)


if __name__ == "__main__":
    main()
