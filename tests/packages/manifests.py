#!/usr/bin/env python3
"""Kubernetes manifests against the schemas of Kubernetes, and Containerfiles against hadolint.

Needs tests/packages/setup to have been run; to be run by its venv's Python.
"""

import subprocess
import sys
from pathlib import Path

import kubernetes_validate
import yaml

ROOT = Path(__file__).resolve().parents[2]
BASE = ROOT / "deploy/kubernetes/base"
SLICES = ROOT / "deploy/kubernetes/components/endpointslices"
# Defined by others: there are no schemas of them with Kubernetes.
FOREIGN = {"ServiceMonitor", "PodMonitor", "Kustomization", "Component"}


def documents(folder=BASE):
    for path in sorted(folder.glob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            yield path.name, document


def one(kind, name, folder=BASE):
    return next(d for _, d in documents(folder) if (d["kind"], d.get("metadata", {}).get("name")) == (kind, name))


def resources_are_valid():
    version = kubernetes_validate.latest_version()
    kinds = set()
    for name, document in [*documents(), *documents(SLICES), ("patched", with_slices())]:
        kinds.add(document["kind"])
        if document["kind"] not in FOREIGN:
            kubernetes_validate.validate(document, version, strict=True)
    assert {"Deployment", "Role", "Service", "PodDisruptionBudget", "ServiceMonitor"} <= kinds, kinds
    print(f"ok: every manifest is as Kubernetes {version} has it")


def all_are_listed():
    for folder in (BASE, SLICES):
        listed = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
        there = {path.name for path in folder.glob("*.yaml")} - {"kustomization.yaml"}
        assert set(listed) == there, there.symmetric_difference(listed)
    print("ok: each kustomization lists every manifest")


def ports_have_names():
    """Whatever is referred to by a port's name has that port."""
    text = "".join(path.read_text() for path in BASE.glob("*.yaml"))
    for name in ("http", "admin", "relay", "agent-admin"):
        assert f"name: {name}, containerPort" in text, name
    print("ok: ports that are named exist")


def every_replica_is_reported_to():
    """Agents look the balancers up by a Service that has the address of each replica, ready or not."""
    balancer, application = one("Deployment", "sluice-balancer"), one("Deployment", "application")
    arguments = application["spec"]["template"]["spec"]["initContainers"][0]["args"]
    [source] = [argument for argument in arguments if argument.startswith("--balancer=")]
    name, port = source.removeprefix("--balancer=dns+http://").split(":")
    service = one("Service", name)["spec"]
    assert service["clusterIP"] == "None" and service["publishNotReadyAddresses"], service
    assert service["selector"].items() <= balancer["spec"]["template"]["metadata"]["labels"].items(), service
    assert [p["port"] for p in service["ports"]] == [int(port)], service
    print("ok: agents report to every replica of the balancer")


def a_rolling_update_waits_for_the_application():
    """The agent is as ready as its application, and the pod as the agent."""
    agent = one("Deployment", "application")["spec"]["template"]["spec"]["initContainers"][0]
    assert agent["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "agent-admin"}, agent["readinessProbe"]
    print("ok: a pod is ready when its application is")


def with_slices():
    """The balancer's Deployment as the component has it: its JSON patch (RFC 6902), which only adds."""
    [patch] = yaml.safe_load((SLICES / "kustomization.yaml").read_text())["patches"]
    document = one(patch["target"]["kind"], patch["target"]["name"])
    for step in yaml.safe_load(patch["patch"]):
        assert step["op"] in ("add", "replace"), step
        *parents, last = step["path"].strip("/").split("/")
        place = document
        for parent in parents:
            place = place[int(parent) if isinstance(place, list) else parent]
        assert step["op"] == "add" or last in place, step
        place[last] = step["value"]
    return document


def the_balancer_may_watch_slices():
    """Its service account may do what the watch does, and no more, and is the one that the patch names."""
    pod = with_slices()["spec"]["template"]["spec"]
    [binding] = [d for _, d in documents(SLICES) if d["kind"] == "RoleBinding"]
    [subject] = binding["subjects"]
    assert (subject["kind"], subject["name"]) == ("ServiceAccount", pod["serviceAccountName"]), subject
    assert one("ServiceAccount", subject["name"], SLICES) and pod["automountServiceAccountToken"]
    role = one("Role", binding["roleRef"]["name"], SLICES)
    expected = {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]}
    assert role["rules"] == [expected], role
    print("ok: the balancer may list and watch EndpointSlices")


def flags_exist():
    """Every flag in the manifests is one of the program's."""
    for name, document in documents():
        spec = document.get("spec", {}).get("template", {}).get("spec", {})
        for container in spec.get("containers", []) + spec.get("initContainers", []):
            program = {"balancer": "sluice-balancer", "agent": "sluice-agent"}.get(container["name"])
            if program:
                text = subprocess.run([ROOT / "target/release" / program, "-h"], capture_output=True, text=True, check=True).stdout
                for argument in container["args"]:
                    flag = argument.split("=")[0]
                    assert not flag.startswith("--") or f"{flag} " in text, f"{name}: {program} has no {flag}"
    print("ok: every flag in the manifests is one of the programs'")


def containerfiles_are_sound():
    files = sorted((ROOT / "deploy/container").glob("Containerfile.*"))
    linter = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([linter, "--failure-threshold", "warning", *files], capture_output=True, text=True)
    assert files and done.returncode == 0, done.stdout + done.stderr
    print("ok: hadolint finds nothing wrong with the Containerfiles")


if __name__ == "__main__":
    all_are_listed()
    resources_are_valid()
    ports_have_names()
    every_replica_is_reported_to()
    a_rolling_update_waits_for_the_application()
    the_balancer_may_watch_slices()
    flags_exist()
    containerfiles_are_sound()
