"""`python -m filbert.cli`: the command where no `filbert` is on the path."""

from filbert.cli import main

if __name__ == "__main__":
    main()
