"""`serve` and `check`: models by file, module and table, and what their replicas get."""

from pathlib import Path

from tests.cli.commands import zypher
from tests.harness import Server, target


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


def test_check_says_that_all_is_right_without_serving() -> None:
    result = zypher("check", target("Sentiment"))
    assert result.returncode == 0
    assert "Sentiment" in result.stdout


def test_a_server_that_others_can_reach_says_so() -> None:
    with Server("--host", "0.0.0.0", "--mock-delay", "0") as server:
        assert server.client.get("/livez", headers={"Host": "any.example"}).status_code == 200
        server.stop()
    assert any("anybody who reaches this port" in line for line in server.lines)
