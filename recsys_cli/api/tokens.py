"""Signed tokens (JWT, RFC 7519) of the shop's single sign-on, beside keys.

The keys come from a local file, a JWK set (RFC 7517); nothing is fetched. A token names its key by `kid`, and the key
alone says by which algorithm it is checked: RS256 for RSA, HS256 for a shared secret. What the token's header says of
its algorithm must agree, so that neither `none` nor a public key used as a secret opens anything (RFC 8725). Several
keys at once, taken up within a second, are how they are rotated.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from ..artifacts.keys import ROLES, SCOPES
from ..errors import MissingDependency, RecsysError, UsageError
from ..settings import ServeSettings
from .access import NoKey

_ALGORITHMS = {"RSA": "RS256", "oct": "HS256"}
_PRIVATE = ("d", "p", "q", "dp", "dq", "qi", "oth")
_LEAST_BITS = {"RSA": 2048, "oct": 256}
_REMEMBERED = 1000  # tokens that were checked
_LONGEST = 8192  # characters of a token
_HINT = "Get a new token from the shop's sign-on."


@dataclass(frozen=True)
class Signed:
    """What a valid token says.

    Parameters
    ----------
    name
        Its subject.
    scopes, role
        What it opens; the roles of the claim and the scopes of `scope`, or what `serve.jwt_roles` names alone.
    until
        Epoch seconds after which it counts no longer, the leeway included.
    """

    name: str
    scopes: frozenset[str]
    role: str
    until: float


class Tokens:
    """Checks tokens by the keys of a file, which is followed.

    Parameters
    ----------
    settings
        `jwt_keys` is set.

    Raises
    ------
    MissingDependency
    UsageError
        The file cannot be used, or no audience is set.
    """

    def __init__(self, settings: ServeSettings) -> None:
        assert settings.jwt_keys is not None
        self._path = Path(settings.jwt_keys)
        self._settings = settings
        if not settings.jwt_audience:
            raise UsageError("serve.jwt_keys is set and serve.jwt_audience is not.", "Name who the tokens are for.")
        wrong = [role for role in settings.jwt_roles.values() if role not in ROLES]
        if wrong:
            raise UsageError(f"serve.jwt_roles has the unknown role '{wrong[0]}'.", f"Roles: {', '.join(ROLES)}.")
        self.error = ""
        self._seen = self._stamp()
        self._keys = read_keys(self._path)
        self._known: OrderedDict[bytes, Signed] = OrderedDict()

    def refresh(self) -> None:
        """Read the file if it has changed (one `stat` otherwise). A damaged file leaves the keys as they were;
        a missing one revokes them all. Never raises."""
        seen = self._stamp()
        if seen == self._seen:
            return
        try:
            self._keys = read_keys(self._path) if seen is not None else {}
            self._seen, self.error = seen, ""
            self._known.clear()
        except RecsysError as e:
            self.error = str(e)

    def check(self, text: str) -> Signed:
        """What a token says.

        Raises
        ------
        NoKey
            It is not valid: forged, over, for somebody else, or without what it must say.
        """
        digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
        known = self._known.get(digest)
        if known is None:
            known = self._known[digest] = self._decoded(text)
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)
        if time.time() >= known.until:
            raise NoKey("This token has expired.", _HINT)
        return known

    def _decoded(self, text: str) -> Signed:
        import jwt

        bad = NoKey("This is not a valid token.", _HINT)
        if len(text) > _LONGEST:
            raise bad
        try:
            header = jwt.get_unverified_header(text)
            algorithm, key = self._keys[header.get("kid", "")]
            if header.get("alg") != algorithm or "crit" in header:
                raise bad
            claims = jwt.decode(
                text,
                key,
                algorithms=[algorithm],
                audience=self._settings.jwt_audience,
                issuer=self._settings.jwt_issuer or None,
                leeway=self._settings.jwt_leeway,
                options={"require": ["exp", "aud", "sub"]},
            )
            return self._said(claims)
        except jwt.ExpiredSignatureError:
            raise NoKey("This token has expired.", _HINT) from None
        except (jwt.InvalidAudienceError, jwt.InvalidIssuerError):
            raise NoKey("This token is for another audience, or of another issuer.", _HINT) from None
        except (jwt.PyJWTError, KeyError, TypeError, ValueError, OverflowError, RecursionError):
            raise bad from None

    def _said(self, claims: Mapping[str, Any]) -> Signed:
        name, given = claims["sub"], claims.get(self._settings.jwt_claim, ())
        roles = [given] if isinstance(given, str) else given if isinstance(given, list) else []
        named = self._settings.jwt_roles
        # A group or scope that is called admin for another purpose opens nothing where the shop has said what counts.
        found = [named.get(r, "") if named else r for r in roles if isinstance(r, str)]
        found = [role for role in found if role in ROLES]
        text = "" if named else claims.get("scope", "")
        scopes = {s for s in text.split() if s in SCOPES[1:]} if isinstance(text, str) else set()
        scopes |= {scope for role in found for scope in ROLES[role]}
        if not isinstance(name, str) or not name.isprintable() or not 0 < len(name) <= 100:
            raise NoKey("This token names nobody, or in a way that cannot be logged.", _HINT)
        until = float(claims["exp"]) + self._settings.jwt_leeway
        return Signed(name, frozenset(scopes), found[0] if len(found) == 1 else "", until)

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size


def read_keys(path: Path) -> dict[str, tuple[str, Any]]:
    """Algorithm and key by `kid`; a set of one key may leave its `kid` out.

    Raises
    ------
    MissingDependency
    UsageError
        The file is not there, not a JWK set, holds private keys or weak ones, or secrets that others can read.
    """
    try:
        import jwt
    except ImportError:
        raise MissingDependency("PyJWT", "jwt", "serve.jwt_keys") from None
    hint = "See serve.jwt_keys in the README."
    try:
        held = orjson.loads(path.read_bytes())
        mode = path.stat().st_mode
    except OSError as e:
        raise UsageError(f"{path}, which serve.jwt_keys names, cannot be read: {os.strerror(e.errno or 0)}.") from None
    except ValueError:
        raise UsageError(f"{path}, which serve.jwt_keys names, is not JSON.", hint) from None
    entries = held.get("keys") if isinstance(held, dict) else None
    if not isinstance(entries, list) or not entries or not all(isinstance(e, dict) for e in entries):
        raise UsageError(f'{path} is not a JWK set: {{"keys": […]}}.', hint)
    found: dict[str, tuple[str, Any]] = {}
    for n, entry in enumerate(entries, 1):
        kind, name = entry.get("kty"), entry.get("kid", "")
        where = f"Key {n} of {path}"
        if kind not in _ALGORITHMS or entry.get("alg", _ALGORITHMS[kind]) != _ALGORITHMS[kind]:
            raise UsageError(f"{where} is neither for RS256 nor for HS256.", hint)
        if entry.get("use", "sig") != "sig" or any(part in entry for part in _PRIVATE if kind == "RSA"):
            raise UsageError(f"{where} is private, or not for signatures.", "Put the public key there.")
        if kind == "oct" and mode & 0o077:
            raise UsageError(f"{where} is a secret, and others can read the file.", f"Run chmod 600 {path}.")
        if not isinstance(name, str) or name in found or (not name and len(entries) > 1):
            raise UsageError(f"{where} has no kid of its own.", "Give each key another kid.")
        try:
            key = jwt.PyJWK.from_dict(entry, algorithm=_ALGORITHMS[kind]).key
        except (jwt.PyJWTError, ValueError, TypeError, AttributeError, KeyError):
            raise UsageError(f"{where} is damaged.", hint) from None
        if (key.key_size if kind == "RSA" else len(key) * 8) < _LEAST_BITS[kind]:
            raise UsageError(f"{where} is too short.", f"Use {_LEAST_BITS[kind]} bits at least.")
        found[name] = (_ALGORITHMS[kind], key)
    return found
