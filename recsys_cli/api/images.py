"""Pictures of the sample shop: the files of one folder, by plain name."""

from __future__ import annotations

import re
from pathlib import Path

from fastapi import Response

from ..errors import NotFound
from .call import Reply

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,100}\.(svg|png|jpg|jpeg|webp)")
_KINDS = {"svg": "image/svg+xml", "png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "webp": "image/webp"}


def show_image(folder: Path | None, name: str) -> Response:
    """The file, or a 404. A name without slashes and leading dots cannot leave the folder."""
    match = _NAME.fullmatch(name)
    path = folder / name if folder is not None and match else None
    if path is None or match is None or not path.is_file() or path.is_symlink():
        reply = Reply.error(NotFound("There is no such image.", "Images come from the folder in serve.images."))
        return Response(reply.body, reply.status, media_type="application/json")
    headers = {
        "cache-control": "public, max-age=86400",
        # An SVG opened by itself is a page; this one may run nothing.
        "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
        "x-content-type-options": "nosniff",
        "cross-origin-resource-policy": "cross-origin",
    }
    return Response(path.read_bytes(), media_type=_KINDS[match[1]], headers=headers)
