"""Settings: mistakes end in one sentence, and flags do what they say."""

import socket
from pathlib import Path

import pytest

from tests.cli.commands import assert_one_sentence, zypher


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("--port", "http"), ("port", "'http'")),
        (("--port", "70000"), ("port", "65535")),
        (("--mock-delay", "15-8"), ("mock-delay",)),
        (("--compat", "modern"), ("compat", "'streams' or 'background'")),
        (("--broker", "rabbit://here"), ("rabbit://here", "sqlite:///zypher.db", "memory:")),
        (("--sync-timeout", "-1"), ("sync-timeout",)),
    ],
)
def test_a_wrong_setting_gets_one_clear_sentence(
    arguments: tuple[str, ...], parts: tuple[str, ...]
) -> None:
    assert_one_sentence(zypher("serve", *arguments), *parts)


def test_a_port_in_use_gets_one_clear_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
        assert_one_sentence(zypher("serve", "--port", port), port, "in use", "--port")


def test_flags_win_over_the_environment_over_dotenv_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "zypher.toml").write_text('mock-delay = "1"\nhost = "file"\ncompat = "file"\n')
    (tmp_path / ".env").write_text("ZYPHER_HOST=dotenv\nZYPHER_COMPAT=dotenv\nOTHER=1\n")
    environment = {"ZYPHER_COMPAT": "environment"}
    assert "got 'flag'" in zypher("check", "--compat", "flag", cwd=tmp_path, **environment).stderr
    assert "got 'environment'" in zypher("check", cwd=tmp_path, **environment).stderr
    assert "got 'dotenv'" in zypher("check", cwd=tmp_path).stderr
    (tmp_path / ".env").unlink()
    assert "got 'file'" in zypher("check", cwd=tmp_path).stderr


def test_a_typo_in_a_variable_gets_one_clear_sentence() -> None:
    result = zypher("check", ZYPHER_PROT="1")
    assert_one_sentence(result, "ZYPHER_PROT", "Did you mean 'ZYPHER_PORT'?")


def test_an_empty_variable_is_as_none() -> None:
    result = zypher("check", ZYPHER_HOST="", ZYPHER_PORT="", ZYPHER_COMPAT="")
    assert result.returncode == 0, result.stderr


def test_the_address_of_the_commands_is_no_unknown_setting() -> None:
    result = zypher("check", ZYPHER_URL="http://10.0.0.1:8080")
    assert result.returncode == 0, result.stderr


def test_a_typo_in_the_name_of_a_table_is_told(tmp_path: Path) -> None:
    (tmp_path / "zypher.toml").write_text('[models.story]\ntarget = "story.py:story"\n')
    result = zypher("serve", "storry", cwd=tmp_path)
    assert_one_sentence(result, "has no model 'storry'", "Did you mean 'story'?")


def test_a_queue_that_can_not_lie_there_is_told_before_it_is_served() -> None:
    result = zypher("check", "--broker", "sqlite:////no/such/place/queue.db")
    assert_one_sentence(result, "There is no directory /no/such/place")


def test_a_typo_in_dotenv_is_an_error_and_what_others_have_there_is_not(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("OTHER=1\nZYPHER_REPLICA=2\n")
    result = zypher("check", cwd=tmp_path)
    assert_one_sentence(result, "ZYPHER_REPLICA is not a setting", "Did you mean 'ZYPHER_REPLICAS'")


def test_what_kubernetes_puts_into_the_environment_is_not_taken_for_a_port() -> None:
    result = zypher(
        "check",
        ZYPHER_PORT="tcp://10.0.0.1:80",
        ZYPHER_PORT_80_TCP_ADDR="10.0.0.1",
        ZYPHER_SERVICE_HOST="10.0.0.1",
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("port = ", ("not valid TOML",)),
        ("sync_timout = 5", ("sync-timout", "Did you mean 'sync-timeout'?")),
        ('[models.a]\ntarget = "x.py:y"\nreplica = 2', ("[models.a]", "Did you mean 'replicas'?")),
        ("models = 1", ("[models.NAME]",)),
        ('[models."a b"]\ntarget = "x.py:y"', ("cannot have the name 'a b'",)),
        ("[models.a]\nreplicas = 2", ("[models.a]", "names no target")),
    ],
)
def test_a_mistake_in_the_file_gets_one_clear_sentence(
    tmp_path: Path, text: str, parts: tuple[str, ...]
) -> None:
    (tmp_path / "zypher.toml").write_text(text)
    assert_one_sentence(zypher("serve", "--port", "0", cwd=tmp_path), *parts)
