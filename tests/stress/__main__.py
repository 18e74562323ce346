"""`python -m tests.stress`, with `kills` or `canary` after it for these.

Nothing is imported where the module is not the program, as in each process of a load.
"""

if __name__ == "__main__":
    import importlib
    import sys

    scripts = {"kills", "canary"} & set(sys.argv[1:2])
    for name in scripts:
        sys.argv.remove(name)
    sys.exit(importlib.import_module(f"tests.stress.{scripts.pop() if scripts else 'run'}").main())
