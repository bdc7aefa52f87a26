"""For all tests: Hypothesis, and nothing of the shell that they are started from.

How long an example takes says nothing about it on a busy machine, so Hypothesis has no deadline.
"""

import os

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("developers", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# The same examples in every run: what fails there is what a change did.
settings.register_profile("integration", parent=settings.get_profile("developers"), derandomize=True, database=None)
settings.load_profile("integration" if os.environ.get("CI") else "developers")

# Read by rich and typer, some of it when they are imported: where lines end, and whether words have colours.
OF_TERMINALS = frozenset(
    (
        *("COLUMNS", "LINES", "TERMINAL_WIDTH", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "JUPYTER_COLUMNS"),
        *("FORCE_COLOR", "NO_COLOR", "PY_COLORS", "GITHUB_ACTIONS", "_TYPER_FORCE_DISABLE_TERMINAL"),
    )
)
# Read by nnU-Net and by our trainers: a user's own folders and settings.
OF_TRAINING = ("nnUNet_", "CHORDOMA_SETTINGS", "CHORDOMA_SKIP_VALIDATION")


@pytest.hookimpl(trylast=True)  # pytest has by then made up its mind about its own colours.
def pytest_configure(config):
    for name in list(os.environ):
        if name in OF_TERMINALS or name.startswith(OF_TRAINING):
            del os.environ[name]
