"""Twenty people, each erased with --retrain from a shop of their own: equal to one that never knew them.

python tests/benchmarks/bench_twin.py [PEOPLE] [MODEL]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.gdpr.conftest import PEOPLE, fill, shop_at
from tests.gdpr.twins import check_twin


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    model = sys.argv[2] if len(sys.argv) > 2 else "als"
    people = [*PEOPLE, *(f"c{20_000 + 5 * i}" for i in range(count))][:count]
    for n, one in enumerate(people):
        with tempfile.TemporaryDirectory() as folder:
            shop = shop_at(Path(folder) / "state")
            fill(shop, seed=n)
            check_twin(shop, [one], Path(folder) / "twin", model)
    print(f"{count} people: store and version equal array for array to those of a shop that never knew them ({model})")


if __name__ == "__main__":
    main()
