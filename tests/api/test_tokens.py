"""Tokens of a single sign-on: what is valid opens what its role does, and everything else opens nothing."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import hmac
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recsys_cli.api.access import Access, NoKey, TooMany
from recsys_cli.api.tokens import Tokens
from recsys_cli.artifacts.audit_log import AuditLog
from recsys_cli.artifacts.keys import ROLES, KeyRing
from recsys_cli.errors import UsageError
from recsys_cli.settings import ServeSettings

jwt = pytest.importorskip("jwt", reason="PyJWT is not installed: pip install 'recsys-cli[jwt]'")
rsa = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.rsa", reason="cryptography is not installed")
from cryptography.hazmat.primitives import serialization  # noqa: E402

SECRET = bytes(range(32))
PRIVATE, STRANGE = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def public(key: Any, kid: str) -> dict[str, Any]:
    return json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key())) | {"kid": kid, "use": "sig"}


SHARED = {"kty": "oct", "k": b64(SECRET), "kid": "shared"}


def claims(**more: Any) -> dict[str, Any]:
    given = {"sub": "kim", "aud": "recsys", "exp": int(time.time()) + 600, "role": "viewer"} | more
    return {name: value for name, value in given.items() if value is not None}


def signed(key: Any = PRIVATE, kid: str = "one", algorithm: str = "RS256", **more: Any) -> str:
    return str(jwt.encode(claims(**more), key, algorithm=algorithm, headers={"kid": kid}))


def shared(**more: Any) -> str:
    return signed(SECRET, "shared", "HS256", **more)


def keep(path: Path, *keys: dict[str, Any]) -> Path:
    draft = path.with_suffix(".new")
    draft.touch(mode=0o600)
    draft.write_text(json.dumps({"keys": keys}))
    draft.replace(path)
    return path


@pytest.fixture
def settings(tmp_path: Path) -> ServeSettings:
    path = keep(tmp_path / "jwks.json", public(PRIVATE, "one"), SHARED)
    return ServeSettings(jwt_keys=path, jwt_audience="recsys", jwt_leeway=30)


def test_a_valid_token_opens_what_its_role_does(settings: ServeSettings, tmp_path: Path) -> None:
    tokens = Tokens(settings)
    access = Access(KeyRing(tmp_path), 0, (), signed=tokens.check)
    for token in (signed(), shared()):
        for header in ({b"authorization": b"Bearer " + token.encode()}, {b"x-api-key": token.encode()}):
            caller = access.caller("8.8.8.8", header)
            assert caller.scopes == set(ROLES["viewer"])
            assert caller.described == {"key": "jwt kim", "role": "viewer"}
    assert tokens.check(shared(role=None, scope="serve operate nonsense page")).scopes == {"serve", "operate"}
    assert tokens.check(shared(role="nobody")).scopes == set()
    assert tokens.check(shared(role=["viewer", "operator"])).scopes == {*ROLES["viewer"], *ROLES["operator"]}
    assert tokens.check(shared(aud=["other", "recsys"])).name == "kim"
    mapped = Tokens(dataclasses.replace(settings, jwt_claim="groups", jwt_roles={"shop-admins": "admin"}))
    assert mapped.check(shared(groups=["staff", "shop-admins"])).scopes == set(ROLES["admin"])
    assert mapped.check(shared(groups=["admin", "operator"], scope="admin serve")).scopes == set()


def by_hand(header: dict[str, Any], body: dict[str, Any], sign: Callable[[bytes], bytes]) -> str:
    text = f"{b64(json.dumps(header).encode())}.{b64(json.dumps(body).encode())}"
    return f"{text}.{b64(sign(text.encode()))}"


def forged() -> dict[str, str]:
    pem = PRIVATE.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    head, body, mark = signed().split(".")
    more = b64(json.dumps(claims(role="admin")).encode())

    def as_secret(data: bytes) -> bytes:
        return hmac.new(pem, data, hashlib.sha256).digest()

    return {
        "another key": signed(STRANGE),
        "another secret": signed(b"x" * 32, "shared", "HS256"),
        "other claims": f"{head}.{more}.{mark}",
        "no signature": f"{head}.{body}.",
        "none": by_hand({"alg": "none", "kid": "one"}, claims(), lambda _: b""),
        "None": by_hand({"alg": "None", "kid": "shared"}, claims(), lambda _: b""),
        "no algorithm": by_hand({"kid": "shared"}, claims(), lambda d: hmac.digest(SECRET, d, "sha256")),
        "the public key as a secret": by_hand({"alg": "HS256", "kid": "one"}, claims(), as_secret),
        "the secret's name for RSA": signed(PRIVATE, "shared"),
        "HS384": signed(SECRET * 2, "shared", "HS384"),
        "an unknown kid": signed(kid="two"),
        "a kid that is a path": signed(kid="../../../dev/null"),
        "no kid": by_hand({"alg": "HS256"}, claims(), lambda d: hmac.digest(SECRET, d, "sha256")),
        "critical": by_hand(
            {"alg": "HS256", "kid": "shared", "crit": ["b64"], "b64": False}, claims(),
            lambda d: hmac.digest(SECRET, d, "sha256"),
        ),
        "its own key": by_hand(
            {"alg": "RS256", "kid": "one", "jwk": public(STRANGE, "one")}, claims(), lambda _: b"x" * 256
        ),
        "expired": shared(exp=int(time.time()) - 31),
        "not yet": shared(nbf=int(time.time()) + 600),
        "no end": shared(exp=None),
        "an end that is a text": shared(exp="tomorrow"),
        "an endless one": shared(exp=float("inf")),
        "an end beyond all numbers": shared(exp=10**400),
        "made in eternity": shared(iat=float("inf")),
        "another audience": shared(aud="other"),
        "no audience": shared(aud=None),
        "nobody": shared(sub=None),
        "an empty name": shared(sub=""),
        "a name for the log": shared(sub="kim\nroot"),
        "two dots": "..",
        "long": f"{'a' * 9000}.b.c",
        "nesting": f"{b64(b'[' * 3000)}.{b64(b'[' * 3000)}.x",
    }  # fmt: skip


@pytest.mark.parametrize("what", forged())
def test_anything_else_opens_nothing(what: str, settings: ServeSettings, tmp_path: Path) -> None:
    tokens = Tokens(settings)
    access = Access(KeyRing(tmp_path), 0, (), signed=tokens.check)
    for _ in range(2):  # nor the second time
        with pytest.raises(NoKey):
            access.caller("127.0.0.1", {b"authorization": b"Bearer " + forged()[what].encode()})


def test_leeway_and_issuer_are_as_set(settings: ServeSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    late = shared(exp=int(time.time()) - 5)
    tokens = Tokens(settings)
    assert tokens.check(late).name == "kim"
    with pytest.raises(NoKey, match="expired"):
        Tokens(dataclasses.replace(settings, jwt_leeway=0.0)).check(late)
    picky = Tokens(dataclasses.replace(settings, jwt_issuer="https://sso.shop.example"))
    assert picky.check(shared(iss="https://sso.shop.example"))
    for issuer in ("https://sso.other.example", None):
        with pytest.raises(NoKey):
            picky.check(shared(iss=issuer))
    now = time.time()
    monkeypatch.setattr("recsys_cli.api.tokens.time.time", lambda: now + 100)
    with pytest.raises(NoKey, match="expired"):
        tokens.check(late)  # which was checked before, and is remembered


def test_keys_are_rotated_while_the_server_runs(settings: ServeSettings) -> None:
    tokens, path = Tokens(settings), Path(str(settings.jwt_keys))
    old, new = signed(), signed(STRANGE, "two")
    keep(path, public(PRIVATE, "one"), public(STRANGE, "two"))
    with pytest.raises(NoKey):
        tokens.check(new)
    tokens.refresh()
    assert tokens.check(old).name == tokens.check(new).name == "kim"
    keep(path, public(STRANGE, "two"))
    tokens.refresh()
    assert tokens.check(new)
    with pytest.raises(NoKey):
        tokens.check(old)
    path.write_text("{")
    tokens.refresh()
    assert "is not JSON" in tokens.error
    assert tokens.check(new), "damage takes no key away"
    path.unlink()
    tokens.refresh()
    with pytest.raises(NoKey):
        tokens.check(new)


def test_what_cannot_be_used_is_told_at_the_start(settings: ServeSettings) -> None:
    path = Path(str(settings.jwt_keys))
    weak = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 1024).public_key()))
    private = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(PRIVATE))
    for keys, said in (
        ([{**SHARED, "k": b64(b"short")}], "too short"),
        ([weak], "too short"),
        ([private], "private"),
        ([{"kty": "EC", "crv": "P-256"}], "neither for RS256 nor for HS256"),
        ([{**SHARED, "alg": "HS512"}], "neither for RS256 nor for HS256"),
        ([SHARED, SHARED], "no kid of its own"),
        ([{"kty": "RSA", "n": "!", "e": "AQAB"}], "damaged"),
        ([], "not a JWK set"),
    ):
        keep(path, *keys)
        with pytest.raises(UsageError, match=said):
            Tokens(settings)
    keep(path, SHARED)
    path.chmod(0o644)
    with pytest.raises(UsageError, match="others can read"):
        Tokens(settings)
    path.chmod(0o600)
    with pytest.raises(UsageError, match="jwt_audience"):
        Tokens(dataclasses.replace(settings, jwt_audience=""))
    with pytest.raises(UsageError, match="unknown role 'king'"):
        Tokens(dataclasses.replace(settings, jwt_roles={"a": "king"}))
    path.unlink()
    with pytest.raises(UsageError, match="cannot be read"):
        Tokens(settings)


def test_forgers_are_slowed_down(settings: ServeSettings, tmp_path: Path) -> None:
    access = Access(KeyRing(tmp_path), 0.01, (), signed=Tokens(settings).check)
    with pytest.raises(NoKey):
        access.caller("8.8.8.8", {b"authorization": b"Bearer a.b.c"})
    with pytest.raises(TooMany):
        access.caller("8.8.8.8", {b"authorization": b"Bearer a.b.c"})


def test_a_server_takes_tokens_beside_keys(shop: Any, start: Callable[..., Any], tmp_path: Path) -> None:
    path = keep(tmp_path / "jwks.json", public(PRIVATE, "one"))
    server = start(config=f'[serve]\njwt_keys = "{os.fspath(path)}"\njwt_audience = "recsys"\n')

    def status(what: str, token: str) -> int:
        return int(server.http.get(what, headers={"x-api-key": "", "authorization": f"Bearer {token}"}).status_code)

    assert status("/status", signed()) == 200
    assert status("/users/t4", signed()) == 403
    assert status("/users/t4", signed(role="privacy-officer")) == 200
    assert status("/status", signed(STRANGE)) == 401
    assert server.get("/status")["version"], "the owner's key still counts"
    held = [(e["by"], e["outcome"]) for e in AuditLog(shop.settings.artifacts).entries()]
    assert ({"key": "jwt kim", "role": "privacy-officer"}, "done") in held
