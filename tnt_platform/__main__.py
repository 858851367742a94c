"""`python -m tnt_platform` is `tnt`."""

from tnt_platform.cli import main

if __name__ == "__main__":
    main()
