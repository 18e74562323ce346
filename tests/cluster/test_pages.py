"""The files that docs/kubernetes.md and docs/slurm.md show fit Kubernetes, Dask's operator and dask-jobqueue."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

_DOCS = Path(__file__).parents[2] / "docs"
_TYPES: dict[str, type | tuple[type, ...]] = {"object": dict, "array": list, "string": str, "integer": int}
# The schema of a DaskJob, from dask-kubernetes 2026.3.0 (BSD-3-Clause), without its descriptions.
_SCHEMA = json.loads(gzip.decompress((Path(__file__).parent / "daskjob.json.gz").read_bytes()))
# Settings of a job of SLURM in dask-jobqueue 0.9.0.
_SLURM = set(
    re.findall(
        r"\S+",
        """account cores death-timeout env-extra extra interface job-cpu job-directives-skip job-extra
        job-extra-directives job-mem job-script-prologue local-directory log-directory memory name processes python
        queue scheduler-options
        shared-temp-directory shebang walltime worker-command worker-extra-args""",
    )
)


def shown(page: str) -> Any:  # noqa: ANN401 - any YAML
    """What the YAML on a page means."""
    (block,) = re.findall(r"^```yaml\n(.*?)^```", (_DOCS / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return yaml.safe_load(block)


def problems(value: object, schema: dict[str, Any], where: str = "") -> Iterator[str]:
    """What the server of Kubernetes would refuse or drop."""
    if schema.get("x-kubernetes-int-or-string"):
        if not isinstance(value, int | str):
            yield f"{where} is {value!r}"
        return
    if (kind := schema.get("type")) in _TYPES and not isinstance(value, _TYPES[kind]):
        yield f"{where} is {value!r}, not {kind}"
    elif isinstance(value, dict):
        known = schema.get("properties", {})
        yield from (f"{where}.{name} is missing" for name in schema.get("required", ()) if name not in value)
        for name, inner in value.items():
            more = known.get(name, schema.get("additionalProperties"))
            if more is None and not schema.get("x-kubernetes-preserve-unknown-fields"):
                yield f"{where}.{name} is unknown"
            yield from problems(inner, more or {}, f"{where}.{name}")
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from problems(item, schema.get("items", {}), f"{where}[{number}]")


def test_the_job_fits_the_schema_of_daskjob() -> None:
    """Every field is known and has the right type, those of pods and services too; none that is required is missing."""
    job = shown("kubernetes.md")
    assert list(problems(job["spec"], _SCHEMA["properties"]["spec"])) == []
    assert (job["apiVersion"], job["kind"]) == ("kubernetes.dask.org/v1", "DaskJob")
    service = job["spec"]["cluster"]["spec"]["scheduler"]["service"]
    assert service["selector"]["dask.org/cluster-name"] == job["metadata"]["name"]


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("job", "spec", "containers", 0, "arg"), []),
        (("cluster", "spec", "worker", "replicas"), "50"),
        (("cluster", "spec", "scheduler", "service", "ports", 0), {"name": "tcp-comm"}),
        (("cluster", "spec", "worker", "spec", "containers", 0, "env"), [{"value": "1"}]),
    ],
    ids=["unknown", "type", "missing", "nested"],
)
def test_a_wrong_job_does_not_fit(place: tuple[str | int, ...], value: object) -> None:
    """The check above finds unknown fields, wrong types and missing fields, however deep."""
    spec = inner = shown("kubernetes.md")["spec"]
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    assert len(list(problems(spec, _SCHEMA["properties"]["spec"]))) == 1


def test_the_settings_of_slurm_are_those_of_dask_jobqueue() -> None:
    """Each is known, and workers have one thread."""
    settings = shown("slurm.md")["jobqueue"]["slurm"]
    assert settings.keys() <= _SLURM
    assert settings["cores"] == settings["processes"]
