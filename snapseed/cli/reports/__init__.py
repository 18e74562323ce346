"""Reports as text for people and as documents for programs: a pair of functions for each.

Those of the CI process stand in modules that only its command imports.
"""

from snapseed.cli.reports.doctor import doctor_document, doctor_text
from snapseed.cli.reports.embeddings import queue_document, queue_text, search_document, search_text
from snapseed.cli.reports.layout import Document
from snapseed.cli.reports.loading import load_document, load_text, status_document, status_text
from snapseed.cli.reports.reset import reset_document, reset_text
from snapseed.cli.reports.snapshots import (
    check_document,
    check_text,
    generate_document,
    generate_text,
    show_document,
    show_text,
)
from snapseed.cli.reports.verification import (
    committed_document,
    committed_text,
    diff_document,
    diff_text,
    verify_document,
    verify_text,
)

__all__ = [
    "Document",
    "check_document",
    "check_text",
    "committed_document",
    "committed_text",
    "diff_document",
    "diff_text",
    "doctor_document",
    "doctor_text",
    "generate_document",
    "generate_text",
    "load_document",
    "load_text",
    "queue_document",
    "queue_text",
    "reset_document",
    "reset_text",
    "search_document",
    "search_text",
    "show_document",
    "show_text",
    "status_document",
    "status_text",
    "verify_document",
    "verify_text",
]
