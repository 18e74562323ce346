"""The client of an object store: from the URL and options of a `Store`, and what its errors mean.

Credentials are found as the cloud's own tools find them. They are in no value of ours, and in no message.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

import obstore.store
from obstore import exceptions

from snapseed.config import Store
from snapseed.errors import SnapshotError, StoreError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

# For 15 seconds: longer than a store throttles its clients, or takes to move.
_RETRIES = {"max_retries": 7, "backoff": {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=5)}}
# By the scheme of a URL, the class of obstore and what it calls our options.
_SERVICES = {
    "s3": ("S3Store", {"endpoint": "endpoint", "region": "region"}),
    "gs": ("GCSStore", {"endpoint": "base_url"}),
    "az": ("AzureStore", {"endpoint": "endpoint", "account": "account_name"}),
}
# The answer of S3 and its like.
_ANSWER = re.compile(r"<Code>(\w+)</Code>(?:.*?<Message>([^<]*)</Message>)?", re.DOTALL)
_PLACE = re.compile(r"https?://[^/\s]+")
_DENIED = {"AccessDenied", "ExpiredToken", "InvalidAccessKeyId", "InvalidToken", "SignatureDoesNotMatch"}
# Where machines of a cloud ask for credentials if there are no others.
_LAST_RESORT = ("169.254.169.254", "metadata.google.internal")
_CREDENTIALS = "log in again, or give this account the rights to list, read, write and delete below the prefix;"
_CREDENTIALS += " see docs/stores.md for where credentials are looked for"


class HasChangedError(Exception):
    """The object is not the one that a conditional write expected."""


class NoConditionsError(Exception):
    """The store has no conditional writes."""


@cache  # A client has the connections of this process, and no settings of its own.
def client_of(store: Store, name: str) -> ObjectStore:
    """A client whose keys are relative to the snapshot `name`."""
    scheme, _, rest = str(store.place).partition("://")
    bucket, _, prefix = rest.partition("/")
    kind, names = _SERVICES[scheme]
    config: dict[str, Any] = {names[option]: value for option, value in store.options}
    return getattr(obstore.store, kind)(  # type: ignore[no-any-return]
        bucket,
        prefix=f"{prefix}/{name}",
        config=config,
        # A range or a piece of an upload takes less on any line that is worth it.
        client_options={"timeout": "60s", "allow_http": dict(store.options).get("endpoint", "").startswith("http://")},
        retry_config=_RETRIES,
        credential_provider=_aws_credentials() if scheme == "s3" else None,
    )


def _aws_credentials() -> object | None:
    """AWS's own chain, with profiles and single sign-on; obstore's own has only variables and roles of machines."""
    with suppress(ImportError, ValueError):
        provider: object = import_module("obstore.auth.boto3").Boto3CredentialProvider()
        return provider
    return None


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Raise `StoreError` for a failure that may pass, `SnapshotError` for a refusal.

    `FileNotFoundError` and `HasChangedError` are for the caller.
    """
    try:
        yield
    except FileNotFoundError as exc:
        if "NoSuchBucket" not in str(exc):
            raise FileNotFoundError(errno.ENOENT, "no such object") from exc
        raise SnapshotError("there is no such bucket", where=where, next_step="create it, or correct the name") from exc
    except (exceptions.AlreadyExistsError, exceptions.PreconditionError) as exc:
        raise HasChangedError from exc
    except exceptions.NotSupportedError as exc:
        raise NoConditionsError from exc
    except exceptions.BaseError as exc:
        if "<Code>NotImplemented</Code>" in str(exc):
            raise NoConditionsError from exc
        raise _refusal(exc, where) from exc


def _refusal(exc: Exception, where: str) -> SnapshotError | StoreError:
    """What the answer of a store, or the lack of one, means."""
    text = str(exc).partition("\n\nDebug")[0]
    answer = _ANSWER.search(text)
    # Without the query of the URL, which has a token of Azure.
    place = _PLACE.search(text)
    code, observed = (
        answer.groups() if answer else ("", text.rpartition(" - ")[2] + (f" ({place[0]})" if place else ""))
    )
    observed = f"{code}: {observed}" if answer and observed else observed or code
    if any(host in text for host in _LAST_RESORT):
        return SnapshotError("no credentials for the object store", where=where, next_step=_CREDENTIALS)
    if code in _DENIED or isinstance(exc, exceptions.PermissionDeniedError | exceptions.UnauthenticatedError):
        summary = "the object store refuses the credentials"
        return SnapshotError(summary, where=where, observed=observed, next_step=_CREDENTIALS)
    next_step = "see whether it can be reached, and run this again"
    return StoreError("the object store failed", where=where, observed=observed, next_step=next_step)
