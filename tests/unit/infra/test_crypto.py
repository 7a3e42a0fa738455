"""Stored secrets are read with their own key alone, and passwords are never stored."""

import pytest

from app.infra.crypto import DecryptionError, Passwords, Vault, derive_key

SECRET = "a-secret-of-at-least-32-characters!"


@pytest.mark.parametrize("plain", ["", "1234", "पिन १२३४", "x" * 10_000])
def test_the_vault_gives_back_what_it_was_given(plain: str) -> None:
    cipher = Vault(SECRET).encrypt(plain)
    assert Vault(SECRET).decrypt(cipher) == plain
    assert plain == "" or plain.encode() not in cipher


def test_the_same_secret_is_never_stored_twice_alike() -> None:
    vault = Vault(SECRET)
    assert vault.encrypt("1234") != vault.encrypt("1234")


@pytest.mark.parametrize("damage", [b"", b"not a cipher", b"\x00\xff"])
def test_what_the_vault_did_not_write_is_refused(damage: bytes) -> None:
    with pytest.raises(DecryptionError):
        Vault(SECRET).decrypt(damage)


def test_another_key_and_a_changed_row_are_refused_and_the_error_names_the_setting() -> None:
    cipher = Vault(SECRET).encrypt("1234")
    with pytest.raises(DecryptionError, match="SAUDA_SECRET_KEY"):
        Vault(SECRET + "?").decrypt(cipher)
    with pytest.raises(DecryptionError):
        Vault(SECRET).decrypt(cipher[:-10] + bytes([cipher[-10] ^ 1]) + cipher[-9:])


def test_no_two_purposes_share_a_key() -> None:
    assert derive_key(SECRET, "one") == derive_key(SECRET, "one")
    assert derive_key(SECRET, "one") != derive_key(SECRET, "two")
    assert len(derive_key(SECRET, "one")) == 32


def test_a_password_fits_its_own_hash_alone() -> None:
    passwords = Passwords()
    stored = passwords.hash("correct horse")
    assert "correct horse" not in stored
    assert stored != passwords.hash("correct horse")
    assert passwords.verify(stored, "correct horse")
    assert not passwords.verify(stored, "wrong horse")
    assert not passwords.verify(stored, "")


def test_an_unknown_user_and_a_broken_hash_fit_no_password() -> None:
    passwords = Passwords()
    assert not passwords.verify(None, "anything")
    assert not passwords.verify(None, "no such user")
    assert not passwords.verify("not a hash", "anything")
