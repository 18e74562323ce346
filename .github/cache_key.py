"""Print the cache key for pip downloads in the action; it changes with everything that affects what pip installs."""

from __future__ import annotations

import hashlib
import os
import platform
from pathlib import Path

digest = hashlib.sha256()
for name in ("INPUT_VERSION", "INPUT_EXTRAS"):
    digest.update(os.environ[name].encode() + b"\0")
for file in ("pyproject.toml", "constraints.txt"):
    digest.update(Path(os.environ["ACTION_PATH"], file).read_bytes())
machine = f"{platform.system()}-{platform.machine()}-{platform.python_version()}"
print(f"cache-key=snapseed-{machine}-{digest.hexdigest()}")
