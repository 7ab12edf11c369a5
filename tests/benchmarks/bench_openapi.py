"""Schemathesis over the OpenAPI document; `python -m pytest tests/benchmarks/bench_openapi.py -s`.

Needs the program `schemathesis` (4 or later) on the path, or its name in `RECSYS_SCHEMATHESIS`: it is best kept in an
environment of its own. `RECSYS_BENCH_REQUESTS` asks for fewer requests than 20,000.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.api.conftest import Server
from tests.serving.shop import make_shop

PROGRAM = os.environ.get("RECSYS_SCHEMATHESIS", "schemathesis")
REQUESTS = int(os.environ.get("RECSYS_BENCH_REQUESTS", "20000"))
# What the document says of answers. Whether a request is taken is not asked: an id may be longer than 0 characters and
# still be refused for its control characters, which a JSON schema has no word for.
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "allow_header_conformance",
)


def test_no_answer_off_the_document(tmp_path: Path) -> None:
    if not shutil.which(PROGRAM):
        pytest.skip("needs schemathesis")
    server = Server(make_shop(tmp_path / "shop"), tmp_path / "log")
    failed = False
    seed = 0
    while sum(_answered(server).values()) < REQUESTS and not failed:
        seed += 1
        failed = _round(server, seed, tmp_path) != 0
    answered = _answered(server)
    server.stop()
    print(f"\n{sum(answered.values())} requests answered: {dict(sorted(answered.items()))}")
    assert not failed
    assert not any(status >= "500" for status in answered)


def _round(server: Server, seed: int, folder: Path) -> int:
    """Some thousand requests to all routes; prints what the program found, and returns its exit code."""
    how = "--max-examples 300 --phases coverage,fuzzing,stateful --suppress-health-check all --continue-on-failure"
    what = [
        f"{server.url}/openapi.json",
        "--header",
        f"X-API-Key: {server.key}",
        "--checks",
        ",".join(CHECKS),
        "--seed",
        str(seed),
        "--warnings",
        "off",
    ]
    done = subprocess.run(
        [PROGRAM, "--no-color", "run", *what, *how.split()],
        capture_output=True,
        text=True,
        cwd=folder,
    )
    counted = re.search(r"Test cases:\n(.*)", done.stdout)
    print(f"\nround {seed}:{counted[1] if counted else ''}; {sum(_answered(server).values())} so far", flush=True)
    if done.returncode:
        print(done.stdout, done.stderr)
    return done.returncode


def _answered(server: Server) -> dict[str, int]:
    """Requests that the server counted, by status."""
    found: dict[str, int] = {}
    text = server.http.get("/metrics").text
    for status, count in re.findall(r'recsys_requests_total\{.*?status="(\d+)"\} ([\d.e+]+)', text):
        found[status] = found.get(status, 0) + int(float(count))
    return found
