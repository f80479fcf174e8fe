"""`python -m filbert`: the command where no `filbert` is on the path, and what `torchrun -m filbert` starts."""

from filbert.cli import main

if __name__ == "__main__":
    main()
