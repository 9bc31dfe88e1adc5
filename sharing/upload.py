"""A tree goes to the Hub in one commit, and is fetched again and compared.

Until that commit the repository's files are what they were, so a push that fails or is killed changes nothing; large
files that were sent before it belong to no commit. No message here holds a token.
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import httpx
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_token, hf_hub_download
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import validate_repo_id

from ..pipelines.loading import INDEX_NAME
from .tree import Entry, list_tree, sha256_of
