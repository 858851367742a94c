"""Where the repository and the shared public data are; users don't have the latter."""

from __future__ import annotations

import os
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
SHARED = Path(os.environ.get("TNT_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
