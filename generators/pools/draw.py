"""Draw the name pools from Faker: `python generators/pools/draw.py`.

Rewrites `first_names.csv` and `last_names.csv` next to this file, for every locale of `locales.csv`. Generating data
reads the CSV files and never runs this, so only this script needs Faker. The result depends on SEED and on the version
of Faker, which is therefore checked.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import faker

FAKER_VERSION = "40.54.0"
SEED = 20_240_229
FIRST_NAMES = 150
LAST_NAMES = 200
ATTEMPTS_PER_NAME = 50  # some locales have too few names; stop after this many draws per wanted name
POOLS = Path(__file__).resolve().parent


def locales() -> list[str]:
    """The locales of `locales.csv`, sorted."""
    with (POOLS / "locales.csv").open(encoding="utf-8", newline="") as file:
        return sorted({row["locale"] for row in csv.DictReader(file)})


def draw(name: Callable[[], str], wanted: int) -> list[str]:
    """Up to `wanted` distinct names, sorted."""
    names: set[str] = set()
    for _ in range(wanted * ATTEMPTS_PER_NAME):
        names.add(name().strip())  # some names have a trailing blank
        if len(names) == wanted:
            break
    return sorted(names)


def write(path: Path, rows: list[tuple[str, str]]) -> None:
    """Write a CSV file with the header `locale,name`."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["locale", "name"])
        writer.writerows(rows)


if __name__ == "__main__":
    if faker.VERSION != FAKER_VERSION:
        raise SystemExit(f"draw.py: Faker is {faker.VERSION}, expected {FAKER_VERSION}; install it or change the pin")
    firsts: list[tuple[str, str]] = []
    lasts: list[tuple[str, str]] = []
    for locale in locales():
        source = faker.Faker(locale)
        source.seed_instance(SEED)
        firsts += [(locale, name) for name in draw(source.first_name, FIRST_NAMES)]
        lasts += [(locale, name) for name in draw(source.last_name, LAST_NAMES)]
    write(POOLS / "first_names.csv", firsts)
    write(POOLS / "last_names.csv", lasts)
