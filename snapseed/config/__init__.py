"""Settings: snapseed.toml and the variables that override it, as one frozen project.

No other package reads variables for settings.
"""

from snapseed.config.project import Environment, Project, find_project
from snapseed.config.settings import (
    NAME_PATTERN,
    EmbeddingsTable,
    EnvironmentTable,
    MaskRule,
    ProjectTable,
    interpolate,
    mask_secret,
    variable_of,
)
from snapseed.config.store import Store

__all__ = [
    "NAME_PATTERN",
    "EmbeddingsTable",
    "Environment",
    "EnvironmentTable",
    "MaskRule",
    "Project",
    "ProjectTable",
    "Store",
    "find_project",
    "interpolate",
    "mask_secret",
    "variable_of",
]
