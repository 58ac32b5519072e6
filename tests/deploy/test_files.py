"""The files that Zypher is deployed with fit each other, its settings and its commands."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.scaler import documents
from tests.image.compose import Service, services, variables
from zypher.cli.app import COMMANDS
from zypher.redis_variables import broker_of_variables
from zypher.settings import Settings, load_settings, option

ROOT = Path(__file__).parents[2]
COMPOSE = [ROOT / "compose.yaml", ROOT / "compose.single.yaml"]
MANIFESTS = sorted((ROOT / "deploy" / "kubernetes").rglob("*.yaml"))
EXAMPLE = ROOT / ".env.example"
STARTER = ROOT / "src" / "zypher" / "cli" / "starter" / "Dockerfile"

COMPOSED = [(file, one) for file in COMPOSE for one in services(file).values()]
OBJECTS = [(file, one) for file in MANIFESTS for one in documents(file)]
PODS = [(file, one) for file, one in OBJECTS if "template" in one.get("spec", {})]


def name_of(value: object) -> str:
    if isinstance(value, Path):
        return value.stem
    return value.name if isinstance(value, Service) else value["kind"]  # type: ignore[index]


def settings_of(image: dict[str, str]) -> dict[str, float]:
    """The times of a container with these variables: seconds."""
    return {
        name: float(image.get(f"ZYPHER_{name.upper()}") or Settings.model_fields[name].default)
        for name in ("grace", "drain_delay", "setup_timeout")
    }


@pytest.mark.parametrize(
    "file", [ROOT / "Dockerfile", STARTER, EXAMPLE, *COMPOSE, *MANIFESTS], ids=name_of
)
def test_every_variable_of_zypher_is_a_setting(file: Path) -> None:
    known = {f"ZYPHER_{name.upper()}" for name in Settings.model_fields}
    assert set(re.findall(r"\bZYPHER_[A-Z_]+\b", file.read_text())) <= known


def commands() -> Iterator[list[str]]:
    """Every command of Zypher's in the files."""
    for _, service in COMPOSED:
        yield from (service.command, service.health)
    for _, one in PODS:
        yield from (container.get("command", []) for container in containers(one))
    for file in (ROOT / "Dockerfile", STARTER):
        yield from (re.findall(r'"([^"]+)"', line) for line in file.read_text().splitlines())


def test_every_command_and_flag_exists() -> None:
    mine = [words[1:] for words in commands() if words[:1] == ["zypher"]]
    assert len(mine) >= 10
    for command, *rest in filter(None, mine):  # an empty one is the name of a label
        assert command in COMMANDS
        flags = {word for word in rest if word.startswith("--")}
        known = {f"--{option(name)}" for name in Settings.model_fields} | {"--url"}
        assert flags <= known, flags


@pytest.mark.parametrize(("file", "service"), COMPOSED, ids=name_of)
def test_a_service_may_do_next_to_nothing(file: Path, service: Service) -> None:
    assert service.read_only
    assert service.gains_no_privileges
    assert service.drops_capabilities or service.name == "redis"  # its image starts as root
    assert set(service.tmpfs) | set(service.volumes) <= {"/tmp", "/data"}
    assert all(port.startswith("127.0.0.1:") for port in service.ports)


@pytest.mark.parametrize(("file", "service"), COMPOSED, ids=name_of)
def test_a_service_has_time_to_end_in_order(file: Path, service: Service) -> None:
    times = settings_of(service.environment)
    assert service.grace >= 30
    if service.name != "redis":
        assert service.grace > times["drain_delay"] + times["grace"]


def test_workers_and_servers_are_started_once_redis_is_healthy() -> None:
    each = services(ROOT / "compose.yaml", WORKERS="5")
    assert each["api"].after == each["worker"].after == ["redis"]
    assert each["worker"].replicas == 5
    assert {"--appendonly", "noeviction"} <= set(each["redis"].command)


def test_the_example_of_the_environment_has_what_compose_asks_for_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = dict(re.findall(r"^(\w+)=(.*)$", EXAMPLE.read_text(), re.MULTILINE))
    assert set(told) == set().union(*map(variables, COMPOSE))
    for file in COMPOSE:
        assert services(file, **told) == services(file)
    monkeypatch.chdir(tmp_path)  # where `./run serve` would read it as well
    without = load_settings()
    (tmp_path / ".env").write_text(EXAMPLE.read_text())
    assert load_settings() == without
    assert broker_of_variables() is None


def containers(one: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = one["spec"]["template"]["spec"]["containers"]
    return found


@pytest.mark.parametrize(("file", "one"), PODS, ids=name_of)
def test_a_pod_may_do_next_to_nothing(file: Path, one: dict[str, Any]) -> None:
    pod = one["spec"]["template"]["spec"]
    assert pod["enableServiceLinks"] is pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in containers(one):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"requests", "limits"} == set(container["resources"])
        assert {"startupProbe", "readinessProbe"} <= set(container)


@pytest.mark.parametrize(("file", "one"), PODS, ids=name_of)
def test_a_pod_has_time_to_load_its_model_and_to_end_in_order(
    file: Path, one: dict[str, Any]
) -> None:
    pod, (container,) = one["spec"]["template"]["spec"], containers(one)
    if container["image"] != "zypher":
        return
    told = {entry["name"]: entry["value"] for entry in container.get("env", [])}
    shared = [o["data"] for _, o in OBJECTS if o["kind"] == "ConfigMap"]
    times = settings_of((shared[0] if "envFrom" in container else {}) | told)
    assert pod["terminationGracePeriodSeconds"] > times["drain_delay"] + times["grace"]
    probe = container["startupProbe"]
    if probe["httpGet"]["path"] == "/readyz":
        assert probe["periodSeconds"] * probe["failureThreshold"] >= times["setup_timeout"]
    user = pod["securityContext"]["runAsUser"]
    assert f"USER {user}:{user}\n" in (ROOT / "Dockerfile").read_text()
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
        port = ports[container[kind]["httpGet"]["port"]]
        assert str(port) == told.get("ZYPHER_METRICS_PORT", "8080")


def test_what_a_manifest_refers_to_is_there() -> None:
    names = {(one["kind"], one["metadata"]["name"]) for _, one in OBJECTS}
    for file, one in OBJECTS:
        text = file.read_text()
        for kind, key in (("ConfigMap", "configMapRef"), ("Secret", "secretRef")):
            for name in re.findall(rf"{key}: {{ name: (\S+?)[ ,}}]", text):
                assert (kind, name) in names
        if one["kind"] == "ScaledObject":
            assert ("Deployment", one["spec"]["scaleTargetRef"]["name"]) in names
            for trigger in one["spec"]["triggers"]:
                assert ("TriggerAuthentication", trigger["authenticationRef"]["name"]) in names
                host, _, port = trigger["metadata"]["address"].partition(":")
                assert ("Service", host) in names
                assert port == "6379"
        if one["kind"] in ("Service", "PodDisruptionBudget", "NetworkPolicy"):
            spec = one["spec"]
            selector = spec.get("podSelector", spec.get("selector"))
            wanted = (selector or {}).get("matchLabels", selector).items()
            labels = [o["spec"]["template"]["metadata"]["labels"].items() for _, o in PODS]
            assert any(wanted <= of_pod for of_pod in labels), one["metadata"]["name"]


def test_a_scaled_object_says_what_keda_knows() -> None:
    known = {
        *("scaleTargetRef", "pollingInterval", "minReplicaCount", "maxReplicaCount"),
        *("initialCooldownPeriod", "cooldownPeriod", "triggers"),
    }
    of_triggers = {
        "redis": {"address", "listName", "listLength", "activationListLength"},
        "redis-streams": {
            *("address", "stream", "consumerGroup", "lagCount", "activationLagCount"),
            "pendingEntriesCount",
        },
    }
    scaled = [one for _, one in OBJECTS if one["kind"] == "ScaledObject"]
    assert len(scaled) == 2
    for one in scaled:
        assert one["apiVersion"] == "keda.sh/v1alpha1"
        assert set(one["spec"]) == known
        for trigger in one["spec"]["triggers"]:
            assert set(trigger) == {"type", "metadata", "authenticationRef"}
            assert set(trigger["metadata"]) <= of_triggers[trigger["type"]]
            assert all(isinstance(value, str) for value in trigger["metadata"].values())


def test_the_starter_and_the_image_are_alike() -> None:
    ours, starter = ((ROOT / "Dockerfile").read_text(), STARTER.read_text())
    for line in (
        "ZYPHER_BROKER=sqlite:////data/zypher.db",
        "ZYPHER_HOST=0.0.0.0",
        "USER 10001:10001",
        "WORKDIR /app",
        "EXPOSE 8080",
        'HEALTHCHECK --interval=10s --timeout=5s --start-period=5m CMD ["zypher", "health"]',
        "groupadd --gid 10001 zypher",
        "useradd --uid 10001 --gid 10001 --no-create-home zypher",
        "install -d -o zypher -g zypher /data",
    ):
        assert line in ours
        assert line in starter
