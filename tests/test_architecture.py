"""What is imported where: replicas and servers stay what they are."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import zypher
from tests.docs.pages import MODELS_PAGE, models
from tests.harness import Server

SOURCE = Path(zypher.__file__).parent
HEAVY = {"fastapi", "starlette", "uvicorn", "pydantic", "numpy", "typer", "rich"}


def modules_after(code: str) -> set[str]:
    """The modules that this code leaves in a fresh interpreter."""
    script = f"import sys\n{code}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    return set(done.stdout.decode().split())


def test_importing_zypher_is_light() -> None:
    assert not modules_after("import zypher") & (HEAVY | {"asyncio", "msgspec"})


@pytest.mark.parametrize("name", ["Client", "AsyncClient"])
def test_the_client_imports_nothing_of_the_server(name: str) -> None:
    modules = modules_after(f"import zypher\nclient = zypher.{name}()")
    assert not modules & HEAVY
    ours = {name for name in modules if name.startswith("zypher.")}
    assert {name.split(".")[1] for name in ours} <= {"client", "errors", "model"}


def test_a_replica_imports_neither_the_web_framework_nor_pydantic_by_itself() -> None:
    assert not modules_after("import zypher.replicas.child") & HEAVY


def test_a_worker_starts_without_the_web_framework() -> None:
    assert not modules_after("import zypher.cli.serving") & {"fastapi", "starlette", "uvicorn"}


def test_a_server_that_calls_no_webhooks_starts_without_what_makes_calls_and_answers_scrapes() -> (
    None
):
    modules = modules_after("import zypher; zypher.create_app()")
    assert not modules & {"httpx2", "prometheus_client"}


def test_the_server_and_the_worker_never_import_the_code_of_a_model(tmp_path: Path) -> None:
    model = tmp_path / "observed.py"
    log = tmp_path / "imports"
    model.write_text(
        f"import os\nopen({str(log)!r}, 'a').write(f'{{os.getpid()}} ')\n"
        "def pid(value: int) -> int:\n    return os.getpid()\n"
    )
    with Server(f"{model}:pid") as server:
        (replica,) = server.replicas()
        assert server.predict(1).json()["result"] == replica.pid != server.process.pid
        assert log.read_text().split() == [str(replica.pid)]


@pytest.mark.parametrize("model", ["echo", "distance"])
def test_the_replica_of_a_plain_model_has_no_pydantic(tmp_path: Path, model: str) -> None:
    code = tmp_path / "plain.py"
    code.write_text(
        "import sys\nfrom dataclasses import dataclass\n"
        "@dataclass\nclass Point:\n    x: float\n    y: float = 0.0\n"
        "def echo(value: str) -> list[str]:\n    return sorted(sys.modules)\n"
        "def distance(a: Point, b: Point) -> list[str]:\n    return sorted(sys.modules)\n"
    )
    value: object = "x" if model == "echo" else {"a": {"x": 1}, "b": {"x": 2}}
    with Server(f"{code}:{model}") as server:
        modules = server.predict(value).json()["result"]
    assert not HEAVY & set(modules)


def test_what_create_app_gives_serves_in_a_host_application(tmp_path: Path) -> None:
    (tmp_path / "host.py").write_text(
        models(MODELS_PAGE)["host.py"] + "@app.get('/own')\ndef own():\n    return 'mine'\n"
    )
    (tmp_path / "zypher.toml").write_text('mock-delay = "0"')
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from host import app\n"
        "from starlette.testclient import TestClient\n"
        "with TestClient(app) as client:\n"
        "    assert client.get('/own').json() == 'mine'\n"
        "    sync = client.post('/ml/predict', json={'input': 1})\n"
        "    assert sync.status_code == 200, sync.text\n"
        "    mode = {'Async-Mode': 'true'}\n"
        "    later = client.post('/ml/predict', json={'input': 1}, headers=mode)\n"
        "    assert later.headers['location'].startswith('/ml/predict/')\n"
        "    found = client.get(later.headers['location'], headers={'Prefer': 'wait=9'})\n"
        "    assert found.json()['status'] == 'completed'\n"
        "with TestClient(app) as client:  # as a fixture of the host's own tests does\n"
        "    assert client.post('/ml/predict', json={'input': 1}).status_code == 200\n"
        "    assert client.get('/ml/openapi.json').json()['servers'] == [{'url': '/ml'}]\n"
        "    bad = client.post('/ml/predict', json={'inputs': 1})\n"
        "    assert bad.headers['content-type'] == 'application/problem+json', bad.text\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr


# What makes code of data. That a library imports one of them is its own affair: none of ours is
# handed to it.
UNSAFE_MODULES = {"pickle", "_pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle"}
UNSAFE_MODULES |= {"joblib", "yaml", "multiprocessing", "jsonpickle"}
UNPICKLING = {"pickle", "_pickle", "shelve", "multiprocessing"}
UNSAFE_CALLS = {"eval", "exec", "compile", "__import__"}


def test_no_data_becomes_code() -> None:
    for path in SOURCE.rglob("*.py"):
        unsafe = [
            found for node in ast.walk(ast.parse(path.read_text())) for found in _unsafe(node)
        ]
        assert not unsafe, path


def _unsafe(node: ast.AST) -> set[str]:
    match node:
        case ast.Import(names=names):
            return {name.name.partition(".")[0] for name in names} & UNSAFE_MODULES
        case ast.ImportFrom(module=module):
            return {(module or "").partition(".")[0]} & UNSAFE_MODULES
        case ast.Call(func=ast.Name(id=name)):
            return {name} & UNSAFE_CALLS
        case ast.keyword(arg="allow_pickle"):
            return {"allow_pickle"}
    return set()


@pytest.mark.parametrize("name", ["zypher.replicas.child", "zypher.worker", "zypher.brokers"])
def test_what_talks_to_other_processes_has_nothing_that_unpickles(name: str) -> None:
    """In a server, uvicorn imports `multiprocessing`, and with it `pickle`, and calls neither."""
    assert not modules_after(f"import {name}") & UNPICKLING
