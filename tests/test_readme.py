"""The README is true: its commands run here, in its order, and print what it says; its links lead somewhere."""

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from lambda_spark.settings import PROJECT_ROOT

pytestmark = pytest.mark.slow

README = (PROJECT_ROOT / "README.md").read_text()


class Example(NamedTuple):
    command: str
    output: list[str]


def examples() -> list[Example]:
    """Return the commands of the console blocks with the lines that follow each; a line `...` stands for any lines."""
    blocks = re.findall(r"^```console\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    parts = [part.split("\n") for block in blocks for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]]
    return [Example(command, steady("\n".join(output)).split("\n")) for command, *output in parts]


def steady(text: str) -> str:
    """Return the text without what differs from run to run: seconds, and the blanks at the end of lines."""
    return re.sub(r" +$", "", re.sub(r" *\d+\.\d s$", " N s", text, flags=re.MULTILINE), flags=re.MULTILINE).strip()


def matches(expected: list[str], printed: str) -> bool:
    pattern = "\n".join(re.escape(line) if line != "..." else r"(?:.*)" for line in expected)
    return re.fullmatch(pattern, steady(printed), re.DOTALL) is not None


@pytest.fixture(scope="module")
def environment(broker: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return an activated environment with a broker and a data root of the tests' own."""
    # Under `make test` a make within would tell of the folders it enters.
    usual = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return {
        **usual,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "LAMBDA_DATA_ROOT": str(tmp_path_factory.mktemp("readme") / "data"),
        "LAMBDA_KAFKA__BOOTSTRAP_SERVERS": broker,
    }


@pytest.mark.timeout(400)
def test_the_commands_print_what_the_readme_says(environment: dict[str, str]) -> None:
    root = environment["LAMBDA_DATA_ROOT"]

    def printed_by(example: Example) -> str:
        command = example.command.replace("'data/", f"'{root}/")
        answer = subprocess.run(
            ["bash", "-c", command],
            env=environment,
            cwd=PROJECT_ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return answer.stdout.replace(root, "data")

    first, *others = examples()
    printed = [printed_by(first)]
    # The others only ask: side by side they leave no core idle.
    with ThreadPoolExecutor(2) as pool:
        printed += pool.map(printed_by, others)
    for example, answer in zip([first, *others], printed, strict=True):
        assert matches(example.output, answer), f"$ {example.command}\n{answer}"


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "docs/adr/README.md"])
def test_links_and_file_names_lead_somewhere(document: str) -> None:
    path = PROJECT_ROOT / document
    links = re.findall(r"\]\((?!http)([^)#]+)\)", path.read_text())
    named = re.findall(r"`((?:jobs|conf|docs|lambda_spark)/[\w./-]+)`", path.read_text())
    missing = [link for link in links if not (path.parent / link).exists()]
    assert missing + [name for name in named if not (PROJECT_ROOT / name).exists()] == []


def test_every_option_of_every_job_is_in_the_readme() -> None:
    sources = [path.read_text() for path in (PROJECT_ROOT / "jobs").glob("*.py")]
    options = {option for source in sources for option in re.findall(r'"(--[\w-]+)"', source)}
    assert [option for option in sorted(options) if option not in README] == []


def test_every_fault_that_is_tested_is_in_the_readme() -> None:
    tests = "".join(path.read_text() for path in (PROJECT_ROOT / "tests").rglob("test_*.py"))
    tested = set(re.findall(r'mark\.fault\("(.+?)"\)', tests))
    told = re.findall(r"^\| ([^`|]+) \| .* \| `test_\w+\.py`", README, re.MULTILINE)
    assert sorted(told) == sorted(tested)
    named = set(re.findall(r"`(test_\w+\.py)`", README))
    assert {name for name in named if not list((PROJECT_ROOT / "tests").rglob(name))} == set()
