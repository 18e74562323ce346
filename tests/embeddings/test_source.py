"""Mistakes in [embeddings] are found before anything is touched."""

from __future__ import annotations

import msgspec
import pytest

from snapseed.embeddings.source import EmbeddingSource, embedding_session, resolve_source
from snapseed.errors import ConfigurationError, UsageError
from snapseed.snapshot.manifest import Manifest
from snapseed.snapshot.store import open_snapshot
from tests.embeddings.conftest import Post


def resolve(post: Post) -> EmbeddingSource:
    """What the project's settings mean for its snapshot."""
    project, environment = post.sandbox.project, post.environment()
    return resolve_source(project, environment, open_snapshot(project.snapshots, "dev").manifest)


def change(post: Post, before: str, after: str) -> None:
    """Replace a text in snapseed.toml."""
    file = post.folder / "snapseed.toml"
    assert before in file.read_text()
    file.write_text(file.read_text().replace(before, after))


@pytest.mark.parametrize(
    ("before", "after", "place", "observed"),
    [
        ('entity = "letters"', 'entity = "mails"', "entity", "'mails'"),
        ('target = "parts"', 'target = "pieces"', "target", "'pieces'"),
        ('text = "body"', 'text = "bodies"', "", "'bodies'"),
        ('number = "part"', 'number = "nr"', "", "'nr'"),
        ('vector = "numbers"', 'vector = "numbers"\nkey = "id"', "key", "id is bigint"),
        ('number = "part"', 'number = "made_by"', "number", "parts.made_by is character varying(40)"),
        ('number = "part"', 'number = "numbers"', "number", "parts.numbers is real[]"),
        ('number = "part"', 'number = "letter"', "", "letter, letter"),
        ('text = "body"', 'text = "id"', "text", "letters.id is bigint"),
        ('vector = "numbers"', 'vector = "numbers"\ntries = 0', "tries", "0"),
        ('vector = "numbers"', 'vector = "numbers"\nclaim_after = "1s"', "claim_after", "'1s'"),
        ('vector = "numbers"', 'vector = "numbers"\nclaim_after = "soon"', "claim_after", "'soon'"),
        ('vector = "numbers"', 'vector = "numbers"\npayload = { a = 1 }', "payload", "neither"),
        ('vector = "numbers"', 'vector = "numbers"\nembedder = "embedders"', "embedder", "'embedders'"),
        ('vector = "numbers"', 'vector = "numbers"\nembedder = "embedders:None"', "embedder", "AttributeError"),
        ('vector = "numbers"', 'vector = "numbers"\nembedder = "no_such:Name"', "embedder", "ModuleNotFoundError"),
        ('vector = "numbers"', 'vector = "numbers"\nembedder = "embedders:os.getcwd"', "embedder", "AttributeError"),
    ],
)
def test_a_mistake_is_named(post: Post, before: str, after: str, place: str, observed: str) -> None:
    """With its key and the value found there."""
    change(post, before, after)
    with pytest.raises(ConfigurationError) as caught:
        resolve(post)
    assert f"[embeddings] {place}".strip() in str(caught.value.where)
    assert observed.lower() in str(caught.value.observed).lower()


def test_texts_with_a_key_of_several_columns_are_refused(post: Post) -> None:
    """Chunks refer to their text by one column, and jobs by one value."""
    project = post.sandbox.project
    manifest = open_snapshot(project.snapshots, "dev").manifest
    entities = tuple(
        msgspec.structs.replace(entity, key=("id", "body")) if entity.name == "letters" else entity
        for entity in manifest.entities
    )
    with pytest.raises(ConfigurationError, match="a key of several columns") as caught:
        resolve_source(project, post.environment(), msgspec.structs.replace(manifest, entities=entities))
    assert caught.value.observed == "letters has the key id, body"


def test_an_embedder_of_another_dimension_is_refused(post: Post) -> None:
    """If the column declares how many numbers it takes."""
    project = post.sandbox.project
    manifest = open_snapshot(project.snapshots, "dev").manifest
    text = msgspec.json.encode(manifest).replace(b'"real[]"', b'"vector(5)"')
    with pytest.raises(ConfigurationError, match="wrong dimension") as caught:
        resolve_source(project, post.environment(), msgspec.json.decode(text, type=Manifest))
    assert (caught.value.observed, caught.value.expected) == (
        "384 numbers by model snapseed-hash-384",
        "numbers is vector(5)",
    )


def test_the_queue_is_named_after_project_and_environment(post: Post) -> None:
    """Unless the settings say otherwise."""
    assert resolve(post).queue_name == "snapseed:letters:dev"
    post.configure(name="'mine-{environment}'")
    assert resolve(post).queue_name == "mine-dev"


def test_a_queue_needs_the_table_of_embeddings(post: Post) -> None:
    """And an environment that wants one."""
    with (
        pytest.raises(UsageError, match="no queue"),
        embedding_session(post.sandbox.project, post.environment(embeddings="snapshot")),
    ):
        pass
    text = (post.folder / "snapseed.toml").read_text()
    begin, _, rest = text.partition("[embeddings]")
    (post.folder / "snapseed.toml").write_text(begin + rest[rest.index("[env") :])
    with pytest.raises(ConfigurationError, match=r"no table \[embeddings\]"):
        post.environment()
