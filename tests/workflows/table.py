"""Which test executes which script, and why a few are not executed as they stand."""

from __future__ import annotations

CI = ".github/workflows/ci.yml"

EXECUTED = {
    "test_action.py": [
        "action.yml: Make an environment of its own",
        "action.yml: Install snapseed",
        "action.yml: Load the snapshot and verify it",
        f"{CI}: action: Its outputs say what was loaded",
        f"{CI}: action: A later step finds the rows",
        "examples/workflows/embedded.yml: test: Install your project",
        "examples/workflows/embedded.yml: test: Run your tests",
        "examples/workflows/service.yml: test: Install your project",
        "examples/workflows/service.yml: test: Run your tests",
        "examples/workflows/reusable.yml: test: Install the project",
        "examples/workflows/reusable.yml: test: Run its tests",
        "docs/github-actions.md: Run your tests",
        "docs/gitlab-ci.md: test",
        "docs/gitlab-ci.md: test-embedded",
    ],
    "test_workflows.py": [
        f"{CI}: test: Install",
        f"{CI}: test: Test on the embedded server",
        f"{CI}: postgres: Install",
        f"{CI}: postgres: Test on a container",
        f"{CI}: conformance: Install the pinned versions",
        f"{CI}: conformance: Make both snapshots again, and compare rows and bytes",
        f"{CI}: wheel: Install it into an environment of its own",
        f"{CI}: wheel: Use it as a newcomer would",
        f"{CI}: wheel: Run the tests of the commands on it",
        f"{CI}: required: Every job has passed",
        "snapseed/starter/workflow.yml: seed: Install",
        "snapseed/starter/workflow.yml: seed: Load and verify, with retries until the service answers",
    ],
}
# Of these Make tells what it would do.
DRY = {
    f"{CI}: check: Check": "it is a half of `make test`, which runs this test",
    f"{CI}: lowest: Test with the lowest versions": "it installs from a registry, then is the suite itself",
    f"{CI}: wheel: Build": "it builds in an environment that is made from a registry",
    ".github/workflows/nightly.yml: fresh: Draw many new examples": "it is a part of the suite, with more examples",
}
