"""The manifests and the chart match Kubernetes' own schemas, the image, the command line and each other.

`kubectl` and `helm` are used if they are installed; else the tests check the fixed parts of the templates.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from cli.main import main
from tests.support.commands import variables
from tests.support.image import described
from tests.support.times import START

ROOT = Path(__file__).parent.parent
MANIFESTS = ROOT / "deploy/kubernetes"
CHART = ROOT / "deploy/helm/dragoman"
TEMPLATES = sorted(CHART.glob("templates/*.yaml"))
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
#: The oldest supported Kubernetes version in the documents; the newest is that of the schemas' package.
OLDEST = "1.30"

needs_helm = pytest.mark.skipif(shutil.which("helm") is None, reason="helm is not installed")
needs_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")


def documents(text: str) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(text) if document]


def manifests() -> list[dict[str, Any]]:
    """Returns all documents except kustomization.yaml."""
    files = sorted(MANIFESTS.glob("*.yaml"))
    texts = [file.read_text() for file in files if file.name != "kustomization.yaml"]
    return [document for text in texts for document in documents(text)]


def of_kind(kind: str, among: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return next(d for d in (manifests() if among is None else among) if d["kind"] == kind)


def container(deployment: dict[str, Any]) -> dict[str, Any]:
    (only,) = deployment["spec"]["template"]["spec"]["containers"]
    return dict(only)


def check_schemas(found: list[dict[str, Any]]) -> None:
    """Validates each document strictly by the schema of its kind, in the oldest and newest Kubernetes."""
    schemas = pytest.importorskip("kubernetes_validate")
    for document in found:
        if document["kind"] != "ServiceMonitor":  # of the Prometheus Operator, not of Kubernetes
            for version in (OLDEST, schemas.latest_version()):
                schemas.validate(document, version, strict=True)


# Schemas


def test_the_manifests_match_the_schemas_of_kubernetes() -> None:
    check_schemas(manifests())


def test_an_invalid_manifest_is_found() -> None:
    schemas = pytest.importorskip("kubernetes_validate")
    service = of_kind("Service")
    service["spec"]["port"] = 80
    with pytest.raises(schemas.ValidationError):
        schemas.validate(service, OLDEST, strict=True)


def test_kustomization_names_every_file() -> None:
    text = (MANIFESTS / "kustomization.yaml").read_text()
    named = set(yaml.safe_load(text)["resources"])
    there = {file.name for file in MANIFESTS.glob("*.yaml")} - {"kustomization.yaml"}
    assert there - named == {"servicemonitor.yaml"}, "which wants the Prometheus Operator"
    assert "servicemonitor.yaml" in text
    assert yaml.safe_load(text)["images"] == [{"name": "dragoman", "newTag": VERSION}]


@needs_kubectl
def test_kubectl_renders_them() -> None:
    done = subprocess.run(
        ["kubectl", "kustomize", str(MANIFESTS)], capture_output=True, text=True, check=False, timeout=START
    )
    assert done.returncode == 0, done.stderr
    rendered = documents(done.stdout)
    check_schemas(rendered)
    assert container(of_kind("Deployment", rendered))["image"] == f"dragoman:{VERSION}"
    (warehouse,) = [
        peer["podSelector"]["matchLabels"]
        for rule in of_kind("NetworkPolicy", rendered)["spec"]["egress"]
        for peer in rule.get("to", [])
        if "namespaceSelector" not in peer
    ]
    assert warehouse == {"app.kubernetes.io/name": "warehouse"}, "labels of others are left alone"


def test_no_secret_is_in_a_file() -> None:
    assert "Secret" not in {document["kind"] for document in manifests()}
    for template in TEMPLATES:
        assert "kind: Secret" not in template.read_text()


# What the pods are


def check_pod(deployment: dict[str, Any]) -> None:
    pod = deployment["spec"]["template"]["spec"]
    image = described()
    user, group = map(int, image.user.split(":"))
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": user,
        "runAsGroup": group,
        "fsGroup": group,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False, "a Service named dragoman would set DRAGOMAN_PORT"
    check_container(container(deployment))


def check_container(found: dict[str, Any]) -> None:
    image = described()
    assert found["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {p["name"]: p["containerPort"] for p in found["ports"]} == dict(
        zip(("http", "admin"), image.ports, strict=True)
    )
    probes = {name: found[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
    assert probes == {
        "startup": {"path": "/livez", "port": "admin"},
        "liveness": {"path": "/livez", "port": "admin"},
        "readiness": {"path": "/readyz", "port": "admin"},
    }
    (mount,) = [mount for mount in found["volumeMounts"] if mount["name"] == "mappings"]
    assert mount == {"name": "mappings", "mountPath": image.volumes[0], "readOnly": True}
    assert "command" not in found, "the image's own"


def set_in(found: dict[str, Any]) -> dict[str, Any]:
    return {entry["name"]: entry.get("value") for entry in found["env"]}


def test_the_pods_are_confined() -> None:
    deployment = of_kind("Deployment")
    check_pod(deployment)
    found = container(deployment)
    assert set_in(found)["DRAGOMAN_ADMIN"] == f"0.0.0.0:{described().ports[1]}"
    assert set(found["resources"]) == {"requests", "limits"}


def check_time_to_end(deployment: dict[str, Any]) -> None:
    """The longest shutdown, and some seconds to spare."""
    found = container(deployment)
    pause = found["lifecycle"]["preStop"]["sleep"]["seconds"]
    grace = int(set_in(found)["DRAGOMAN_GRACE"])
    assert deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] >= pause + grace + 5


def test_the_grace_period_is_long_enough() -> None:
    check_time_to_end(of_kind("Deployment"))


def test_the_manifests_select_the_same_pods() -> None:
    deployment = of_kind("Deployment")
    labels = deployment["spec"]["selector"]["matchLabels"]
    assert labels.items() <= deployment["spec"]["template"]["metadata"]["labels"].items()
    selectors = [
        *(d["spec"]["selector"] for d in manifests() if d["kind"] == "Service"),
        of_kind("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        of_kind("NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
    ]
    assert selectors == [labels] * len(selectors)
    assert (
        of_kind("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    )
    names = {port["name"] for port in container(deployment)["ports"]}
    for document in manifests():
        if document["kind"] == "Service":
            assert {port["targetPort"] for port in document["spec"]["ports"]} <= names
    (volume,) = [v for v in deployment["spec"]["template"]["spec"]["volumes"] if v["name"] == "mappings"]
    assert volume["configMap"]["name"] == of_kind("ConfigMap")["metadata"]["name"]


def test_metrics_are_scraped_from_the_service_that_has_them() -> None:
    monitor = of_kind("ServiceMonitor")
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    chosen = [d for d in manifests() if d["kind"] == "Service" and wanted <= d["metadata"]["labels"].items()]
    (service,) = chosen
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["path"] == "/metrics"
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}


def test_the_mappings_variables_are_set() -> None:
    (text,) = of_kind("ConfigMap")["data"].values()
    declared = set(yaml.safe_load(text)["env"])
    assert declared <= set(set_in(container(of_kind("Deployment"))))


# The chart


def test_the_charts_values_match_their_schema() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    jsonschema.Draft7Validator.check_schema(schema)
    jsonschema.Draft7Validator(schema).validate(values)
    assert set(values) == set(schema["properties"]) - {"global"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"replica": 2},
        {"watch": "yes"},
        {"mappings": {"no ending": "dragoman: 1"}},
        {"secret": {"keys": ["API_KEYS"]}},
        {"autoscaling": {"cpuUtilization": 101}},
    ],
    ids=str,
)
def test_invalid_values_are_refused(wrong: dict[str, Any]) -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert not jsonschema.Draft7Validator(schema).is_valid(wrong)


def used_values() -> Iterator[tuple[str, list[str]]]:
    for file in [*TEMPLATES, *CHART.glob("templates/_*"), CHART / "templates/NOTES.txt"]:
        for path in re.findall(r"\.Values\.([A-Za-z.]+)", file.read_text()):
            yield file.name, path.rstrip(".").split(".")


def test_templates_use_exactly_the_defined_values() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    for file, path in used_values():
        value = values
        for name in path:
            assert name in value, f"{file} uses .Values.{'.'.join(path)}"
            value = value[name]
    assert {path[0] for _, path in used_values()} == set(values)


def fixed(template: Path) -> list[dict[str, Any]]:
    """Returns the fixed parts of a template's documents: actions are replaced by 0, or removed."""
    lines = template.read_text().splitlines()
    fixed_lines = [line for line in lines if not re.fullmatch(r"\s*\{\{.*\}\}", line)]
    return documents(re.sub(r"\{\{.*?\}\}", "0", "\n".join(fixed_lines)))


def test_the_charts_pods_are_those_of_the_manifests() -> None:
    (deployment,) = fixed(CHART / "templates/deployment.yaml")
    check_pod(deployment)
    charted, plain = container(deployment), container(of_kind("Deployment"))
    for part in ("startupProbe", "livenessProbe", "readinessProbe", "lifecycle", "volumeMounts", "ports"):
        assert charted[part] == plain[part]


def test_the_chart_has_every_kind_of_the_manifests() -> None:
    kinds = {document["kind"] for template in TEMPLATES for document in fixed(template)}
    assert kinds == {document["kind"] for document in manifests()} | {"Ingress"}


def test_the_charts_versions_are_the_projects() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == VERSION
    assert chart["kubeVersion"] == f">={OLDEST}.0-0"


def test_the_charts_own_mapping_is_valid(tmp_path: Path) -> None:
    for name, text in yaml.safe_load((CHART / "values.yaml").read_text())["mappings"].items():
        (tmp_path / name).write_text(text)
    check_mappings(tmp_path)


def test_the_manifests_own_mapping_is_valid(tmp_path: Path) -> None:
    for name, text in of_kind("ConfigMap")["data"].items():
        (tmp_path / name).write_text(text)
    check_mappings(tmp_path)


def check_mappings(folder: Path) -> None:
    from click.testing import CliRunner

    env = {"WAREHOUSE_URL": "http://localhost:1", "DRAGOMAN_API_KEYS": "k"}
    done = CliRunner().invoke(main, ["validate", "--strict", str(folder)], env=env)
    assert done.exit_code == 0, done.output


CHOICES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "everything on": {
        "ingress": {"enabled": True, "tlsSecret": "cert"},
        "serviceMonitor": {"enabled": True},
        "watch": False,
        "podAnnotations": {"a/b": "c"},
        "secret": {"name": "keys", "keys": ["DRAGOMAN_API_KEYS"]},
        "env": {"OLLAMA_HOST": "http://ollama:11434", "NUMBER": 1},
        "args": ["openai-over-ollama"],
        "imagePullSecrets": [{"name": "pull"}],
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "a", "operator": "Exists"}],
        "affinity": {"podAntiAffinity": {}},
        "networkPolicy": {"egress": []},
        "maxInFlight": 2000000,
    },
    "everything off": {
        "autoscaling": {"enabled": False},
        "podDisruptionBudget": {"enabled": False},
        "networkPolicy": {"enabled": False},
        "existingConfigMap": "mine",
    },
}


def rendered(values: dict[str, Any], folder: Path) -> list[dict[str, Any]]:
    file = folder / "values.yaml"
    file.write_text(yaml.safe_dump(values))
    done = subprocess.run(
        ["helm", "template", "gateway", str(CHART), "--values", str(file), "--kube-version", "1.33"],
        capture_output=True,
        text=True,
        check=False,
        timeout=START,
    )
    assert done.returncode == 0, done.stderr
    return documents(done.stdout)


@needs_helm
@pytest.mark.parametrize("choice", CHOICES)
def test_helm_renders_valid_documents(choice: str, tmp_path: Path) -> None:
    found = rendered(CHOICES[choice], tmp_path)
    check_schemas(found)
    deployment = of_kind("Deployment", found)
    check_pod(deployment)
    check_time_to_end(deployment)


@needs_helm
def test_helm_uses_the_given_values(tmp_path: Path) -> None:
    found = rendered(CHOICES["everything on"], tmp_path)
    pods = container(of_kind("Deployment", found))
    assert pods["args"] == ["serve", "openai-over-ollama"]
    assert set_in(pods)["OLLAMA_HOST"] == "http://ollama:11434"
    assert set_in(pods)["DRAGOMAN_MAX_IN_FLIGHT"] == "2000000"
    assert set_in(pods)["DRAGOMAN_WATCH"] == "false"
    key = next(entry for entry in pods["env"] if entry["name"] == "DRAGOMAN_API_KEYS")
    assert key["valueFrom"] == {"secretKeyRef": {"name": "keys", "key": "DRAGOMAN_API_KEYS"}}
    mapping = of_kind("ConfigMap", found)["data"]["hello.yaml"]
    assert yaml.safe_load(mapping) == yaml.safe_load(
        yaml.safe_load((CHART / "values.yaml").read_text())["mappings"]["hello.yaml"]
    )


@needs_helm
def test_pods_restart_for_a_changed_mapping_that_they_do_not_watch(tmp_path: Path) -> None:
    def annotations(**values: Any) -> dict[str, str]:
        deployment = of_kind("Deployment", rendered(values, tmp_path))
        return dict(deployment["spec"]["template"]["metadata"].get("annotations") or {})

    assert annotations(watch=True) == {}
    one, other = (
        annotations(watch=False, mappings={"m.yaml": text}) for text in ("dragoman: 1", "dragoman: 2")
    )
    assert one["checksum/mappings"] != other["checksum/mappings"]


@needs_helm
def test_helm_lint_has_no_findings() -> None:
    done = subprocess.run(
        ["helm", "lint", "--strict", str(CHART)], capture_output=True, text=True, check=False, timeout=START
    )
    assert done.returncode == 0, done.stdout


# Names of variables


#: Variables of mappings, not of the command.
OF_MAPPINGS = {"DRAGOMAN_API_KEYS"}


@pytest.mark.parametrize("file", ["kubernetes/deployment.yaml", "helm/dragoman/templates/deployment.yaml"])
def test_every_variable_is_an_option_of_serve(file: str) -> None:
    named = set(re.findall(r"name: (DRAGOMAN_\w+)", (ROOT / "deploy" / file).read_text()))
    assert named
    assert named - OF_MAPPINGS <= variables("serve")
