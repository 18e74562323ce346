"""Settings: snapseed.toml and the variables that override it, as one frozen project.

No other package reads variables for settings.
"""

from snapseed.config.project import Environment, Project, find_project
from snapseed.config.store import Store

__all__ = ["Environment", "Project", "Store", "find_project"]
