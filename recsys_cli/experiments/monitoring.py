"""Alert rules for Prometheus and a dashboard for Grafana, as files that come with the package."""

from __future__ import annotations

from importlib import resources

import orjson

FILES = {"rules": "prometheus_rules.yml", "grafana": "grafana.json"}


def text(kind: str, *, as_json: bool = False) -> str:
    """The file `rules` or `grafana`; with `as_json`, as one JSON object whatever its format."""
    content = resources.files(__package__).joinpath(FILES[kind]).read_text(encoding="utf-8")
    if as_json and kind == "rules":
        return orjson.dumps({"rules": content}).decode() + "\n"
    return content
