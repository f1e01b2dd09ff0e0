"""The command line where the script `synthzoo` is not on the path."""

from synthzoo.cli import main

if __name__ == "__main__":
    main(prog_name="synthzoo")
