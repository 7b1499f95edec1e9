"""The environment in which tests run the site: nothing of the machine's own settings, so that no
test can reach a real provider, a real database or anybody's data."""

from __future__ import annotations

import os
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SECRET_KEY = "for tests only: none of the sessions that it signs outlives the run"

# Boto3 reads these itself.
OF_BOTO3 = {
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_DEFAULT_REGION",
}


def setting_names() -> list[str]:
    """Every environment variable that batchsite/settings.py reads."""
    source = (ROOT / "batchsite" / "settings.py").read_text()
    return sorted(set(re.findall(r'\benv_\w+\(\s*"([A-Z][A-Z0-9_]+)"', source)))


def clean_environment(data_dir: Path, **values: str) -> dict[str, str]:
    """This process's environment without the settings of a site, but with DATA_DIR and `values`."""
    names = {*setting_names(), "DJANGO_SETTINGS_MODULE"}
    kept = {name: value for name, value in os.environ.items() if name not in names}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)  # many processes are started with the same code
    return {**kept, "DATA_DIR": str(data_dir), "SECRET_KEY": SECRET_KEY, **values}
