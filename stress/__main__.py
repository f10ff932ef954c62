"""`python -m stress` is `perpstress`."""

from stress.cli import main

if __name__ == "__main__":
    main()
