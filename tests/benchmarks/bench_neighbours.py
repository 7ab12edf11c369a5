"""The same model beside a busy neighbour: `auto` alone, and beside processes that burn all cores.

    python tests/benchmarks/bench_neighbours.py [--data ../shared/data]

Chooses and fits twice on Online Retail and compares name, hyperparameters, weights and the bytes of the fitted arrays.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench_models import retail

from recsys_cli.models import registry
from recsys_cli.schema import Dataset
from recsys_cli.tuning.auto import pick

_BURN = "while True: pass"


def made(data: Dataset) -> tuple[dict[str, Any], str, float, float]:
    """What was chosen, a sum of the model's bytes, CPU seconds and seconds."""
    cpu, wall = time.process_time(), time.monotonic()
    won = pick(data)
    config = won.final.whole if won.final else won.config
    cls = registry.get(won.name)
    model = cls.fit(data, cls.Config.from_values(config))
    told = hashlib.sha256()
    for name, array in sorted(model.state().arrays.items()):
        told.update(name.encode() + array.tobytes())
    return {"name": won.name, **config}, told.hexdigest()[:16], time.process_time() - cpu, time.monotonic() - wall


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[3] / "shared" / "data")
    data = retail(parser.parse_args().data).train
    alone = made(data)
    burners = [subprocess.Popen([sys.executable, "-c", _BURN]) for _ in range(os.cpu_count() or 1)]
    try:
        beside = made(data)
    finally:
        for burner in burners:
            burner.kill()
    for label, (chosen, told, cpu, wall) in (("alone", alone), ("beside", beside)):
        print(f"{label}: {chosen['name']}, bytes {told}, {cpu:.0f} CPU s in {wall:.0f} s")
    print("the same choice" if alone[0] == beside[0] else f"DIFFERENT: {alone[0]} and {beside[0]}")
    print("the same bytes" if alone[1] == beside[1] else "other bytes")
    sys.exit(alone[0] != beside[0])


if __name__ == "__main__":
    main()
