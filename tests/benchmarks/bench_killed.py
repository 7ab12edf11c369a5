"""Fifty points of an erasure, each killed by SIGKILL there and finished by the next run; two minutes.

python tests/benchmarks/bench_killed.py [POINTS]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.gdpr.conftest import make_full, shop_at
from tests.gdpr.test_killed import check_killed_at, copy_of, points


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder)
        shop = shop_at(make_full(where / "state"))
        chosen = points(shop, where / "whole", int(sys.argv[1]) if len(sys.argv) > 1 else 50)
        for point in chosen:
            check_killed_at(copy_of(shop, where / f"killed-{point}"), point)
    print(f"{len(chosen)} kills, file operations 1 to {chosen[-1]}: finished by the next run, nobody half there")


if __name__ == "__main__":
    main()
