"""Which test executes which script, and why a few are not executed."""

from __future__ import annotations

CI = ".github/workflows/ci.yml"
STARTERS = "snapseed/starter"

EXECUTED = {
    "test_action.py": [
        "action.yml: Create a virtual environment",
        "action.yml: Install snapseed",
        "action.yml: Comment the differences",
        "action.yml: Load the snapshot and verify it",
        f"{CI}: action: Check its outputs",
        f"{CI}: action: Find the rows in a later step",
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
        f"{CI}: conformance: Regenerate both snapshots, and compare rows and bytes",
        f"{CI}: wheel: Install it into a clean environment",
        f"{CI}: wheel: Use it as a newcomer would",
        f"{CI}: wheel: Test the commands of the wheel",
        f"{CI}: required: Check that every job passed",
        *(
            f"{STARTERS}/{name}"
            for name in (
                "media/.github/workflows/snapseed.yml: seed: Install",
                "media/.github/workflows/snapseed.yml: seed: Generate the snapshot, unless it is committed",
                "media/.github/workflows/snapseed.yml: seed: Load and verify, with retries until the service answers",
                "shop/.github/workflows/snapseed.yml: test: Install",
                "shop/.github/workflows/snapseed.yml: test: Generate the snapshot, unless it is committed",
                "shop/.github/workflows/snapseed.yml: test: Load and verify, with retries until the service answers",
                "shop/.github/workflows/snapseed.yml: test: Test, each test on a copy of these rows",
            )
        ),
    ],
}
# For these, `make -n` shows what would be done, or a stand-in for sudo.
DRY = {
    f"{CI}: check: Check": "it is one half of `make test`, which runs this test",
    f"{CI}: test: Install a pooler": "it installs from a registry",
    f"{CI}: test: Test the report in a browser": "it installs a browser, and runs a part of the suite",
    f"{CI}: postgres: Install a pooler": "it installs from a registry",
    f"{CI}: lowest: Test with the lowest versions": "it installs from a registry, and then runs this very suite",
    f"{CI}: wheels: Cross-compile": "it builds six times in an environment that is installed from a registry",
    f"{CI}: wheel: Build": "it builds in an environment that is installed from a registry",
    ".github/workflows/nightly.yml: fresh: Draw many new examples": "it is a part of the suite, with more examples",
    ".github/workflows/nightly.yml: fresh: Run the tests that take long": "it is a part of the suite",
}
