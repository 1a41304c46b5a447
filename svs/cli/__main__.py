"""`python -m svs.cli`: the command where it is not installed."""

from svs.cli import main

if __name__ == "__main__":
    main()
