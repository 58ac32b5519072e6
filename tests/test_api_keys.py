"""API keys in settings: how they are given, what is kept, and what is told about mistakes."""

from hashlib import sha256
from pathlib import Path

import pytest

from zypher.api_keys import credential, hashed, new_key
from zypher.errors import ConfigurationError
from zypher.settings import Settings, load_settings

KEY, OTHER = "zy_secret-0123456789", "zy_hidden-0123456789"


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, which is empty."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def digest(key: str) -> bytes:
    return sha256(key.encode()).digest()


def test_keys_come_from_all_places_as_they_are_or_hashed(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = {"ann": {digest(KEY)}, "bob.2": {digest(OTHER)}}
    text = f"ann={KEY}, {hashed('bob.2', OTHER)},"
    (place / "zypher.toml").write_text(f'api-keys = ["ann={KEY}", "{hashed("bob.2", OTHER)}"]')
    assert known(load_settings()) == expected
    (place / ".env").write_text(f"ZYPHER_API_KEYS={text}\n")
    assert known(load_settings()) == expected
    monkeypatch.setenv("ZYPHER_API_KEYS", f"ann={OTHER}")
    assert known(load_settings()) == {"ann": {digest(OTHER)}}
    assert known(load_settings(api_keys=text)) == expected


def known(settings: Settings) -> dict[str, set[bytes]]:
    return {key.name: {*key.digests} for key in settings.callers()}


def test_a_table_has_what_may_be_done_with_a_key_and_may_have_the_key(place: Path) -> None:
    (place / "zypher.toml").write_text(
        f'api-keys = "ann={KEY}"\n'
        "[keys.ann]\nrate = 2.5\nmax-queued = 7\n"
        f'[keys.ops]\nkey = ["{OTHER}", "{hashed("x", KEY + "2").partition("=")[2]}"]\n'
        'sees = "all"\nrate = 0.1\nburst = 4\n'
    )
    ann, ops = load_settings().callers()
    assert (ann.name, ann.rate, ann.burst, ann.max_queued, ann.sees_all) == (
        "ann",
        2.5,
        2,
        7,
        False,
    )
    assert (ops.name, ops.rate, ops.burst, ops.max_queued, ops.sees_all) == (
        "ops",
        0.1,
        4,
        None,
        True,
    )
    assert ops.digests == {digest(OTHER), digest(KEY + "2")}


def test_a_name_can_have_two_keys_while_one_takes_over_from_the_other() -> None:
    settings = load_settings(api_keys=f"ann={KEY},ann={OTHER}")
    assert known(settings) == {"ann": {digest(KEY), digest(OTHER)}}


def test_nothing_that_is_shown_of_settings_has_a_key_or_its_hash(place: Path) -> None:
    (place / "zypher.toml").write_text(f'api-keys = "ann={KEY}"\n[keys.bob]\nkey = "{OTHER}"\n')
    settings = load_settings()
    shown = f"{settings!r} {settings.callers()} {settings.api_keys}"
    for key in (KEY, OTHER):
        assert key not in shown
        assert repr(digest(key)) not in shown
        assert digest(key).hex() not in shown


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (KEY, "NAME=KEY"),
        (",", "no key in it"),
        (f"{KEY}=mobile-application", "as in NAME=KEY"),
        ("=" + KEY, "name of a key"),
        (f"a b={KEY}", "name of a key"),
        (f"a:b={KEY}", "name of a key"),
        (f"{'n' * 65}={KEY}", "name of a key"),
        ("ann=", "visible ASCII"),
        ("ann=zy_secret-01234", "15 characters"),
        (f"ann={KEY} {KEY}", "visible ASCII"),
        (f"ann={KEY}\u00e9", "visible ASCII"),
        ("ann=sha256:zy_secret", "64 hexadecimal digits"),
        (f"ann=sha256:{KEY}", "64 hexadecimal digits"),
        (f"ann={KEY},bob={KEY}", "the same API key"),
    ],
)
def test_a_mistake_gets_one_sentence_without_the_key(given: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(api_keys=given)
    sentence = str(caught.value)
    assert said in sentence
    assert "secret" not in sentence
    assert sentence.endswith(".")


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("[keys.ann]\nrate = 1", "[keys.ann] in zypher.toml has no key"),
        (f'[keys.ann]\nkey = "{KEY}"\nrat = 1', "Did you mean 'rate'?"),
        (f'[keys.ann]\nkey = "{KEY}"\nrate = 0', "keys.ann.rate"),
        (f'[keys.ann]\nkey = "{KEY}"\nsees = "alle"', "keys.ann.sees"),
        (f'[keys.ann]\nkey = "{KEY}"\nburst = 3', "give it a rate"),
        ('[keys.ann]\nkey = "zy_secret"', "9 characters"),
        ("[keys.ann]\nkey = 5", "a key is a text"),
        (f'[keys."a b"]\nkey = "{KEY}"', "name of a key"),
        (f'[keys]\nann = "{KEY}"', "[keys.NAME]"),
        (f'keys = "{KEY}"', "[keys.NAME]"),
    ],
)
def test_a_mistake_in_a_table_gets_one_sentence_without_the_key(
    place: Path, table: str, said: str
) -> None:
    (place / "zypher.toml").write_text(table)
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)


def test_keys_that_are_made_are_long_and_never_the_same() -> None:
    made = {new_key() for _ in range(100)}
    assert len(made) == 100
    assert min(map(len, made)) >= 43
    for key in made:
        assert credential(hashed("ann", key)) == credential(f"ann={key}")
