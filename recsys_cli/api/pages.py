"""The embeddable carousel and the shop owner's page: plain files, sent with tags and tight security headers."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ..errors import NotFound

_FOLDER = Path(__file__).parent / "static"
_JS = "text/javascript; charset=utf-8"
LANGUAGES = ("en", "de")
# Products' pictures lie where the shop's do. All else comes from here, and nothing may be written into the page.
_POLICY = (
    "default-src 'self'; img-src 'self' http: https:; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True)
class Page:
    """One file.

    Parameters
    ----------
    name
        In the folder of static files.
    cache
        `no-cache` asks every time and mostly gets a 304: after an update no page runs with yesterday's script.
    """

    name: str
    content_type: str
    cache: str = "no-cache"


PAGES: Mapping[str, Page] = {
    "/": Page("page.html", "text/html; charset=utf-8"),
    "/widget.js": Page("widget.js", _JS, "public, max-age=300"),
    "/widget.react.js": Page("widget.react.js", _JS, "public, max-age=300"),
    "/widget.react.d.ts": Page("widget.react.d.ts", "text/plain; charset=utf-8", "public, max-age=300"),
    "/docs": Page("docs.html", "text/html; charset=utf-8"),
    "/static/docs.js": Page("docs.js", _JS),
    "/static/docs.css": Page("docs.css", "text/css; charset=utf-8"),
    "/static/page.js": Page("page.js", _JS),
    "/static/language.js": Page("language.js", _JS),
    "/static/german.js": Page("german.js", _JS),
    "/static/storefront.js": Page("storefront.js", _JS),
    "/static/dashboard.js": Page("dashboard.js", _JS),
    "/static/finder.js": Page("finder.js", _JS),
    "/static/placements.js": Page("placements.js", _JS),
    "/static/owner.js": Page("owner.js", _JS),
    "/static/charts.js": Page("charts.js", _JS),
    "/static/page.css": Page("page.css", "text/css; charset=utf-8"),
    "/static/icon.svg": Page("icon.svg", "image/svg+xml", "public, max-age=86400"),
}


def routes(images: Path | None) -> list[BaseRoute]:
    """All of `PAGES`, which are read once, and the pictures of the sample shop."""

    async def show(request: Request) -> Response:
        return show_image(images, request.path_params["name"])

    found = [Route(path, _endpoint(page)) for path, page in PAGES.items()]
    return [*found, Route("/sample-images/{name}", show)]


def _endpoint(page: Page) -> Callable[[Request], Awaitable[Response]]:
    english = (_FOLDER / page.name).read_bytes()
    spoken = page.name == "page.html"  # its scripts have the words of each language, and go by <html lang>
    bodies = {lang: english.replace(b'lang="en"', b'lang="%b"' % lang.encode(), 1) for lang in LANGUAGES}
    common = {
        "cache-control": page.cache,
        "content-security-policy": _POLICY,
        "x-content-type-options": "nosniff",
        "cross-origin-resource-policy": "cross-origin",  # the carousel is loaded by the shop's pages
        "referrer-policy": "no-referrer",
        **({"vary": "accept-language"} if spoken else {}),
    }

    async def endpoint(request: Request) -> Response:
        body = bodies[language_of(request.headers.get("accept-language", ""))] if spoken else english
        headers = {**common, "etag": f'"{hashlib.sha256(body).hexdigest()[:20]}"'}
        if _knows(request.headers.get("if-none-match", ""), headers["etag"]):
            return Response(status_code=304, headers=headers)
        return Response(body, headers={**headers, "content-type": page.content_type})

    return endpoint


def language_of(accepted: str) -> str:
    """The language of `LANGUAGES` that an Accept-Language ranks highest, of equals the first named; else English."""
    best, rank = LANGUAGES[0], 0.0
    for one in accepted[:1000].lower().split(","):
        tag, _, weight = one.partition(";")
        name = tag.strip().split("-")[0]
        match = re.fullmatch(r"\s*q=([01](?:\.\d{0,3})?)\s*", weight)
        if name in LANGUAGES and (share := float(match[1]) if match else 1.0) > rank:
            best, rank = name, share
    return best


def _knows(asked: str, tag: str) -> bool:
    """Whether a request's If-None-Match names the tag; proxies that pack an answer make its tag weak."""
    return any(one.strip().removeprefix("W/") in (tag, "*") for one in asked.split(","))


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,100}\.(svg|png|jpg|jpeg|webp)")
_KINDS = {"svg": "image/svg+xml", "png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "webp": "image/webp"}


def show_image(folder: Path | None, name: str) -> Response:
    """A file of the folder of pictures. A name without slashes and leading dots cannot leave it.

    Raises
    ------
    NotFound
    """
    match = _NAME.fullmatch(name)
    path = folder / name if folder is not None and match else None
    if path is None or match is None or not path.is_file() or path.is_symlink():
        raise NotFound("There is no such image.", "Images come from the folder in serve.images.")
    headers = {
        "cache-control": "public, max-age=86400",
        # An SVG opened by itself is a page; this one may run nothing.
        "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
        "x-content-type-options": "nosniff",
        "cross-origin-resource-policy": "cross-origin",
    }
    return Response(path.read_bytes(), media_type=_KINDS[match[1]], headers=headers)
