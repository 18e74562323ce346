"""`python -m tests.stress`. Nothing is imported where the module is not the program, as in each process of a load."""

if __name__ == "__main__":
    import sys

    from tests.stress.run import main

    sys.exit(main())
