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
# Defined by others: there are no schemas of them with Kubernetes.
FOREIGN = {"ServiceMonitor", "PodMonitor", "Kustomization"}


def documents():
    for path in sorted(BASE.glob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            yield path.name, document


def resources_are_valid():
    version = kubernetes_validate.latest_version()
    kinds = set()
    for name, document in documents():
        kinds.add(document["kind"])
        if document["kind"] not in FOREIGN:
            kubernetes_validate.validate(document, version, strict=True)
    assert {"Deployment", "Service", "PodDisruptionBudget", "ServiceMonitor"} <= kinds, kinds
    print(f"ok: every manifest is as Kubernetes {version} has it")


def all_are_listed():
    listed = yaml.safe_load((BASE / "kustomization.yaml").read_text())["resources"]
    there = {path.name for path in BASE.glob("*.yaml")} - {"kustomization.yaml"}
    assert set(listed) == there, there.symmetric_difference(listed)
    print("ok: the kustomization lists every manifest")


def ports_have_names():
    """Whatever is referred to by a port's name has that port."""
    text = "".join(path.read_text() for path in BASE.glob("*.yaml"))
    for name in ("http", "admin", "relay", "agent-admin"):
        assert f"name: {name}, containerPort" in text, name
    print("ok: ports that are named exist")


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
    flags_exist()
    containerfiles_are_sound()
