"""`--help` and `--version`: what they say, and what they do not import."""

from tests.cli.commands import zypher


def test_version_prints_the_version() -> None:
    assert zypher("--version").stdout.strip() == "0.1.0"


def test_help_lists_every_setting() -> None:
    text = zypher("serve", "--help", COLUMNS="200").stdout
    from zypher.settings import Settings, option

    for name in Settings.model_fields:
        if name != "models":
            assert f"--{option(name)}" in text
