"""The environment that judges: rectools wants an older numpy than Spark's, so it runs in .venv-evaluation.

What it is given are Parquet files, what it returns is JSON. The scripts that run there import nothing of lambda_spark.
"""

import subprocess
from pathlib import Path

from lambda_spark.errors import SetUpError
from lambda_spark.settings import PROJECT_ROOT

PYTHON = PROJECT_ROOT / ".venv-evaluation" / "bin" / "python"


def is_installed() -> bool:
    """Say whether the environment is there in full."""
    return (PYTHON.parents[1] / ".ready").exists()


def run_elsewhere(script: str, *arguments: str | Path) -> str:
    """Run one of the scripts beside this file there; return what it prints. Raises SetUpError where it cannot."""
    if not is_installed():
        raise SetUpError("What judges recommendations is not installed: run `make .venv-evaluation/.ready`.")
    command = [PYTHON, Path(__file__).with_name(script), *arguments]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SetUpError(f"{script} has failed, see above: `make .venv-evaluation/.ready` installs what it needs.")
    return done.stdout
