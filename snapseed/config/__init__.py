"""Settings: snapseed.toml, the variables that stand in for its keys, and the frozen project made of both.

Nothing outside of this package reads the process's variables for a setting.
"""

from snapseed.config.project import Environment, Project, find_project
from snapseed.config.settings import NAME_PATTERN, EmbeddingsTable, EnvironmentTable, ProjectTable, interpolate

__all__ = [
    "NAME_PATTERN",
    "EmbeddingsTable",
    "Environment",
    "EnvironmentTable",
    "Project",
    "ProjectTable",
    "find_project",
    "interpolate",
]
