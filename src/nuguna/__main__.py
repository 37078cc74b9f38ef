"""`python -m nuguna` is the same as `nuguna`."""

from .cli import main

if __name__ == "__main__":
    main()
