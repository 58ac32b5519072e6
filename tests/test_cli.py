"""The command line: ordinary mistakes end in one sentence, and flags do what they say."""

import os
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.harness import MODELS, PATIENCE, ZYPHER, Server, target


def zypher(
    *arguments: str, cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, in `cwd` or in an empty directory."""
    with tempfile.TemporaryDirectory() as empty:
        return subprocess.run(
            [ZYPHER, *arguments],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            cwd=cwd or empty,
            env=os.environ | environment,
            check=False,
        )


def assert_one_sentence(result: subprocess.CompletedProcess[str], *parts: str) -> None:
    """It failed, and said why in one line."""
    assert result.returncode == 1, result.stderr
    said = [line for line in result.stderr.splitlines() if not line.startswith("Loading ")]
    assert len(said) == 1, result.stderr
    for part in parts:
        assert part in said[0]


# Models that cannot be served.


@pytest.mark.parametrize("command", ["serve", "check"])
@pytest.mark.parametrize(
    ("model", "parts"),
    [
        ("nothing.py:Model", ("nothing.py", "no file")),
        ("no_such_package.module:Model", ("no_such_package",)),
        (f"{MODELS}:Sentimant", ("Did you mean 'Sentiment'?",)),
        (f"{MODELS}:untyped", ("no type hint for 'value'", "`value: str`")),
        (f"{MODELS}:MODE", ("has no 'MODE'",)),
        ("sentiment", ("`file.py:Name`",)),
        ("a b=sentiment.py:X", ("cannot have the name 'a b'",)),
    ],
)
def test_a_model_that_cannot_be_loaded_gets_one_clear_sentence(
    command: str, model: str, parts: tuple[str, ...]
) -> None:
    assert_one_sentence(zypher(command, "--port", "0", model), *parts)


def test_a_model_whose_file_raises_shows_the_authors_own_traceback(tmp_path: Path) -> None:
    model = tmp_path / "broken.py"
    model.write_text("def helper():\n    return 1 / 0\n\nhelper()\n")
    result = zypher("serve", "--port", "0", f"{model}:Model")
    assert result.returncode == 1
    assert result.stderr.count("Traceback") == 1
    assert "return 1 / 0" in result.stderr
    assert result.stderr.splitlines()[-1].endswith("raised ZeroDivisionError: division by zero.")
    assert "zypher/" not in result.stderr.replace(str(tmp_path), "")


def test_a_setup_that_raises_ends_the_server_with_its_traceback() -> None:
    result = zypher("serve", "--port", "0", target("BrokenSetup"))
    assert result.returncode == 1
    assert result.stderr.count("Traceback") == 1
    assert 'raise RuntimeError("no such weights")' in result.stderr
    assert "raised RuntimeError: no such weights" in result.stderr.splitlines()[-1]


def test_a_setup_that_exceeds_its_time_ends_the_server() -> None:
    result = zypher("serve", "--port", "0", "--setup-timeout", "1", target("SlowSetup"))
    assert_one_sentence(result, "was not ready within setup-timeout (1 s)", "--setup-timeout")


@pytest.mark.parametrize(
    "body",
    [
        "class Panic(BaseException): ...\nraise Panic\n",
        "raise KeyboardInterrupt\n",
        "raise ValueError('caf\\udce9')\n",
        "import sys\nsys.exit(0)\n",
        "def Model(value: 'list['): ...\n",
        "import functools\nModel = functools.partial(print, end=1)\n",
        "import re\nfrom typing import Annotated\nfrom pydantic import Field\n"
        "def Model(value: Annotated[str, Field(pattern='(?<=a+)b')]): ...\n",
        "from typing import Annotated\nfrom pydantic import Field\n"
        "def Model(value: Annotated[int, Field(json_schema_extra={'type': 'nonsense'})]): ...\n",
    ],
)
def test_no_mistake_in_a_models_file_hangs_the_start(tmp_path: Path, body: str) -> None:
    model = tmp_path / "mistake.py"
    model.write_text(body)
    result = zypher("check", f"{model}:Model")
    assert result.returncode == 1
    assert "fault of Zypher" not in result.stderr
    assert "zypher/" not in result.stderr.replace(str(tmp_path), "")
    assert result.stderr.strip().endswith(".")


def test_a_process_that_dies_while_it_loads_ends_the_server(tmp_path: Path) -> None:
    model = tmp_path / "dies.py"
    model.write_text("import os\nos._exit(7)\n")
    result = zypher("serve", "--port", "0", f"{model}:Model")
    assert_one_sentence(result, "ended with exit code 7", "loading")


def test_two_models_of_one_name_are_refused() -> None:
    result = zypher("serve", f"{MODELS}:echo", f"{MODELS}:echo")
    assert_one_sentence(result, "Two models have the name 'echo'")


# Settings.


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


# Models by file, module and table.


def test_models_come_from_the_tables_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "my_models.py").write_text(
        "def double(value: int) -> int:\n    return 2 * value\n"
        "def triple(value: int) -> int:\n    return 3 * value\n"
    )
    (tmp_path / "zypher.toml").write_text(
        '[models.twice]\ntarget = "my_models.py:double"\nreplicas = 2\n'
        '[models.thrice]\ntarget = "my_models:triple"\n'
    )
    with Server(cwd=tmp_path) as server:
        assert server.predict(2).json()["result"] == 4
        assert server.predict(2, model="thrice").json()["result"] == 6
        assert len(server.replicas()) == 3
    with Server("thrice", cwd=tmp_path) as server:
        assert server.predict(2).json()["result"] == 6
        assert len(server.replicas()) == 1


def test_a_module_is_found_in_the_current_directory_and_may_import_its_neighbours(
    tmp_path: Path,
) -> None:
    package = tmp_path / "shop"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "prices.py").write_text("RATE = 3\n")
    (package / "model.py").write_text(
        "from shop.prices import RATE\n"
        "class Prices:\n"
        "    def predict(self, amount: int, rate: int = RATE) -> int:\n"
        "        return amount * rate\n"
    )
    with Server("shop.model:Prices", cwd=tmp_path) as server:
        assert server.predict({"amount": 2}).json()["result"] == 6
        assert server.predict({"amount": 2, "rate": 5}).json()["result"] == 10


def test_a_file_named_as_a_module_of_python_does_no_harm(tmp_path: Path) -> None:
    for name in ("json", "types", "socket", "asyncio"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError\n")
    (tmp_path / "model.py").write_text("def up(text: str) -> str:\n    return text.upper()\n")
    with Server("model.py:up", cwd=tmp_path) as server:
        assert server.predict("a").json()["result"] == "A"


# What a replica gets.


def test_a_replica_does_not_inherit_the_servers_settings_and_secrets(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(
        "import os\ndef names(prefix: str) -> list[str]:\n"
        "    return [name for name in os.environ if name.startswith(prefix)]\n"
    )
    with Server(
        "model.py:names",
        "--broker",
        "memory:",
        cwd=tmp_path,
        ZYPHER_GRACE="5",
        REDIS_HOST="secret",
        MY_MODEL_TOKEN="1",
    ) as server:
        assert server.predict("ZYPHER_").json()["result"] == []
        assert server.predict("REDIS_").json()["result"] == []
        assert server.predict("MY_").json()["result"] == ["MY_MODEL_TOKEN"]


# The other commands.


def test_check_says_that_all_is_right_without_serving() -> None:
    result = zypher("check", target("Sentiment"))
    assert result.returncode == 0
    assert "Sentiment" in result.stdout


def test_version_prints_the_version() -> None:
    assert zypher("--version").stdout.strip() == "0.1.0"


def test_help_lists_every_setting() -> None:
    text = zypher("serve", "--help", COLUMNS="200").stdout
    from zypher.settings import Settings, option

    for name in Settings.model_fields:
        if name != "models":
            assert f"--{option(name)}" in text


def test_a_server_that_others_can_reach_says_so() -> None:
    with Server("--host", "0.0.0.0", "--mock-delay", "0") as server:
        assert server.client.get("/livez", headers={"Host": "any.example"}).status_code == 200
        server.stop()
    assert any("anybody who reaches this port" in line for line in server.lines)
