"""`./run image`: build the image, run it as the compose files say, and print what came of it."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2

from tests.docs.pages import blocks, models
from tests.image.builds import PYTHON_IMAGE, ROOT, UV_IMAGE, Builder, size
from tests.image.compose import Service, services
from tests.image.containers import PATIENCE, Container, make_volume
from tests.image.network import leave_network
from tests.redis_servers import Program

_TOOLS = ("buildah", "debootstrap", "runc", "redis-cli")
_URL = "http://127.0.0.1:8080"
_ASYNC = {"Async-Mode": "true"}

MOST_OF_VENV = 60.0  # MB


class Trial:
    """One image, and what is run of it."""

    def __init__(self, image: dict[str, Any], root: Path, directory: Path) -> None:
        self._image, self._root, self._directory = image, root, directory
        self._count = 0

    @contextmanager
    def container(
        self, service: Service, volumes: dict[str, Path] | None = None, **environment: str
    ) -> Iterator[Container]:
        """A container of a service, which is healthy."""
        self._count += 1
        bundle = self._directory / f"{service.name}-{self._count}"
        name = f"zypher-{os.getpid()}-{self._directory.name}-{bundle.name}"
        made = Container(
            name, self._root, self._image, service, volumes or {}, bundle, **environment
        )
        with made as running:
            said = running.healthy().stdout.strip()
            print(f"  {service.name}: {said}")
            yield running

    def volume(self, name: str, place: str) -> Path:
        """A new volume for this place."""
        return make_volume(self._directory / name, self._root, place)


def main(uv: str) -> None:
    """Do it all. Ends with a sentence if something is not as it should be."""
    if missing := [tool for tool in _TOOLS if not shutil.which(tool)]:
        raise SystemExit(f"Not installed: {', '.join(missing)}. This needs root, and Debian.")
    builder = Builder(ROOT / ".image")
    builder.prepare(uv)
    try:
        begun = time.monotonic()
        builder.build(ROOT, "zypher", PYTHON_IMAGE=PYTHON_IMAGE, UV_IMAGE=UV_IMAGE)
        print(f"built in {time.monotonic() - begun:.0f} s")
        root = builder.unpack("zypher")
        measure(root, ROOT / ".image" / "python")
        with tempfile.TemporaryDirectory(prefix="zypher-") as directory:
            own_root = build_own(builder, Path(directory) / "own")
            leave_network()
            trial = Trial(builder.config("zypher"), root, Path(directory))
            try_single(trial)
            try_port(trial)
            try_many(trial)
            try_own(Trial(builder.config("own"), own_root, Path(directory) / "own"))
    finally:
        builder.clear()


def measure(root: Path, base: Path) -> None:
    """Print how large it is."""
    compiled = sum(map(size, root.rglob("*.pyc")))
    venv = size(root / "opt/zypher") - sum(map(size, (root / "opt/zypher").rglob("*.pyc")))
    print(f"/opt/zypher {venv:.1f} MB, compiled {compiled:.1f} MB, base {size(base):.1f} MB")
    require(venv <= MOST_OF_VENV, f"/opt/zypher is larger than {MOST_OF_VENV} MB")


def build_own(builder: Builder, folder: Path) -> Path:
    """The image of docs/how-to/docker.md, made from ours: its root."""
    page = ROOT / "docs" / "how-to" / "docker.md"
    folder.mkdir()
    (dockerfile,) = blocks(page, "dockerfile")
    (folder / "Dockerfile").write_text(dockerfile)
    (folder / "requirements.txt").write_text("msgpack\n")
    (folder / "sentiment.py").write_text(models(ROOT / "README.md")["sentiment.py"])
    builder.build(folder, "own")
    return builder.unpack("own")


def try_single(trial: Trial) -> None:
    """One container with a volume: it answers, is asked for its health, ends, and comes back."""
    print("compose.single.yaml")
    service = services(ROOT / "compose.single.yaml")["zypher"]
    volumes = {place: trial.volume(name, place) for place, name in service.volumes.items()}
    with trial.container(service, volumes, ZYPHER_MOCK_DELAY="1") as one:
        require(one.run("id", "-u").stdout == "10001\n", "it does not run as 10001")
        refused = one.run("touch", "/app/x", "/opt/zypher/x", "/x")
        require(refused.stderr.count("Read-only file system") == 3, "its root can be written")
        costs = [one.cost(*service.health) for _ in range(9)]
        real, used = (sorted(each)[4] for each in zip(*costs, strict=True))
        print(f"  zypher health: {real:.0f} ms, {used:.0f} ms of a processor (medians of 9)")
        nobody = one.run("zypher", "health", "--url", "http://127.0.0.1:1")
        require(nobody.returncode == 1, "a server that is away is healthy")
        require(predict()["result"] != "", "no result")
        ids = [submit() for _ in range(200)]
        code, seconds = one.stop()
        print(f"  SIGTERM while 200 run: exit code {code} after {seconds:.1f} s")
        require(code == 0, one.log)
    with trial.container(service, volumes, ZYPHER_MOCK_DELAY="1") as two:
        require([poll(id) for id in ids] == ["completed"] * 200, "some did not end")
        ids = [submit() for _ in range(200)]
        two.kill()
    with trial.container(service, volumes, ZYPHER_MOCK_DELAY="0") as three:
        require([poll(id) for id in ids] == ["completed"] * 200, "a killed container lost some")
        print("  SIGKILL with 200 unfinished: all completed by the next container on the volume")
        require(three.stop()[0] == 0, three.log)
    for volume in volumes.values():
        print(f"  on the volume: {', '.join(sorted(file.name for file in volume.iterdir()))}")


def try_port(trial: Trial) -> None:
    """`PORT` is obeyed, and the health check finds it."""
    service = services(ROOT / "compose.single.yaml")["zypher"]
    volumes = {"/data": trial.volume("elsewhere", "/data")}
    with trial.container(service, volumes, PORT="9000", ZYPHER_MOCK_DELAY="0"):
        require("result" in predict("http://127.0.0.1:9000"), "it is not at PORT")


def try_many(trial: Trial) -> None:
    """The services of compose.yaml, each when those before it are healthy."""
    print("compose.yaml")
    each = services(ROOT / "compose.yaml", REDIS_PASSWORD="a/b@c")
    hosts = trial.volume("hosts", "/data") / "hosts"
    hosts.write_text("127.0.0.1 localhost redis\n")
    place = {"/etc/hosts": hosts}
    data = trial.volume("redis", "/data")
    require(each["api"].after == each["worker"].after == ["redis"], "Redis has to be first")
    with ExitStack() as stack:
        redis = stack.enter_context(redis_of(each["redis"], data))
        workers = [
            stack.enter_context(worker(trial, each["worker"], place, number))
            for number in range(each["worker"].replicas)
        ]
        api = stack.enter_context(trial.container(each["api"], place))
        require(predict()["result"] != "", "no result")
        ids = [submit() for _ in range(100)]
        redis.kill()
        redis.wait()
        stack.enter_context(redis_of(each["redis"], data))
        api.healthy()
        require([poll(id) for id in ids] == ["completed"] * 100, "a killed Redis lost some")
        print("  Redis killed with 100 unfinished: all completed once it was back")
        for one in (api, *workers):
            code, seconds = one.stop()
            print(f"  SIGTERM to {one.service}: exit code {code} after {seconds:.1f} s")
            require(code == 0, one.log)


@contextmanager
def worker(
    trial: Trial, service: Service, place: dict[str, Path], number: int
) -> Iterator[Container]:
    """One of the workers. They share a network here, so each has a port of its own."""
    told = {"ZYPHER_METRICS_PORT": str(9090 + number), "ZYPHER_MOCK_DELAY": "1"}
    health = [word.replace("9090", told["ZYPHER_METRICS_PORT"]) for word in service.health]
    with trial.container(replace(service, health=health), place, **told) as running:
        yield running


@contextmanager
def redis_of(service: Service, data: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The Redis of a compose file, as a process of this machine; it is healthy."""
    command = [str(Program.VALKEY.path), *service.command[1:], "--dir", str(data)]
    log = data.with_name("redis.log").open("ab")
    process = subprocess.Popen([*command, "--bind", "127.0.0.1"], stdout=log, stderr=log)
    try:
        check = ["redis-cli", *service.health[1:]]
        environment = os.environ | service.environment
        deadline = time.monotonic() + PATIENCE
        while subprocess.run(check, env=environment, capture_output=True, check=False).returncode:
            require(time.monotonic() < deadline, "Redis is not healthy")
            time.sleep(0.1)
        print(f"  redis: {' '.join(check)} answers")
        yield process
    finally:
        process.kill()
        process.wait()
        log.close()


def try_own(trial: Trial) -> None:
    """The image of the how-to: it has what was installed for it, and serves its model."""
    print("docs/how-to/docker.md")
    service = services(ROOT / "compose.single.yaml")["zypher"]
    volumes = {"/data": trial.volume("queue", "/data")}
    with trial.container(service, volumes) as own:
        require(own.run("python", "-c", "import msgpack").returncode == 0, "it was not installed")
        require(predict() == {"input": "all is fine", "result": {"score": 0.5}}, "another result")
        print("  predict 'all is fine': 0.5")


def predict(url: str = _URL) -> dict[str, Any]:
    """What a synchronous call answers."""
    answer = httpx2.post(f"{url}/predict", json={"input": "all is fine"}, timeout=PATIENCE)
    require(answer.status_code == 200, answer.text)
    body: dict[str, Any] = answer.json()
    return body


def submit() -> str:
    """The id of a new asynchronous prediction."""
    answer = httpx2.post(f"{_URL}/predict", json={"input": "hi"}, headers=_ASYNC, timeout=PATIENCE)
    require(answer.status_code == 202, answer.text)
    return str(answer.json()["prediction_id"])


def poll(id: str) -> str:
    """The status that a prediction ends in."""
    answer = httpx2.get(f"{_URL}/predict/{id}", headers={"Prefer": "wait=60"}, timeout=PATIENCE * 2)
    return str(answer.json()["status"])


def require(holds: bool, otherwise: str) -> None:
    """End it all, and say why, if this does not hold."""
    if not holds:
        raise SystemExit(f"FAILED: {otherwise}")


if __name__ == "__main__":
    main(*sys.argv[1:])
