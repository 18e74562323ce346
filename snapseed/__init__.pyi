# The public names, each with the module that defines it: the only list of them. `__init__.py` reads it at run time,
# type checkers and editors read it as a stub.

from .capture.request import CaptureRequest as CaptureRequest
from .capture.request import subset_request as subset_request
from .capture.snapshot import capture_snapshot as capture_snapshot
from .config import Environment as Environment
from .config import Project as Project
from .config import find_project as find_project
from .embeddings.chunks import chunk_count as chunk_count
from .embeddings.chunks import chunk_keys as chunk_keys
from .embeddings.chunks import chunk_of as chunk_of
from .embeddings.embedder import Embedder as Embedder
from .embeddings.embedder import HashingEmbedder as HashingEmbedder
from .errors import SnapseedError as SnapseedError
from .generate.draws.numbers import as_decimals as as_decimals
from .generate.draws.texts import filled as filled
from .generate.draws.texts import json_array as json_array
from .generate.draws.texts import json_object as json_object
from .generate.draws.texts import json_raw as json_raw
from .generate.draws.texts import slug as slug
from .generate.draws.times import Rhythm as Rhythm
from .generate.entity import Entity as Entity
from .generate.entity import FanOut as FanOut
from .generate.entity import counted as counted
from .generate.entity import entity as entity
from .generate.entity import exactly as exactly
from .generate.entity import fan_out as fan_out
from .generate.entity import scale as scale
from .generate.entity import spread as spread
from .generate.request import resolve_request as resolve_request
from .generate.rows import Items as Items
from .generate.rows import Rows as Rows
from .generate.snapshot import check_snapshot as check_snapshot
from .generate.snapshot import generate_snapshot as generate_snapshot
from .load.request import LoadRequest as LoadRequest
from .load.request import Mode as Mode
from .load.snapshot import load_snapshot as load_snapshot
from .snapshot.store import open_snapshot as open_snapshot
from .testing import SnapseedDatabase as SnapseedDatabase
from .testing.reset import reset_environment as reset_environment
from .testing.states import delete_state as delete_state
from .testing.states import list_states as list_states
from .testing.states import reset_to_state as reset_to_state
from .testing.states import save_state as save_state
from .verify.database import verify_snapshot as verify_snapshot

__all__: list[str]  # noqa: PYI035 - lazy_loader makes it from the imports above
