"""README and docs: what can be pasted is valid, what is named exists, and the reference leaves out no key."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from search_spaces import SpaceError, as_domain
from sweeps import SweepConfig
from sweeps.spec import build_config
from sweeps.yaml_document import parse_yaml

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
# What a block that shows only some sections is put into.
REST = {
    "name": "a-part",
    "metric": {"name": "valid_loss", "goal": "minimize"},
    "parameters": {"lr": 0.1},
    "searcher": {"name": "random", "num_samples": 1},
}


def blocks(language: str) -> list[Any]:
    found = [
        (page, text)
        for page in PAGES
        for text in re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)
    ]
    return [pytest.param(text, id=f"{page.name}-{number}") for number, (page, text) in enumerate(found)]


@pytest.mark.parametrize("text", blocks("yaml"))
def test_a_yaml_block_is_a_sweep_or_sections_of_one(text):
    document = parse_yaml(text)
    assert document.problems == ()
    build_config(document.data if "version" in document.data else REST | document.data)


@pytest.mark.parametrize("text", blocks("python"))
def test_a_python_block_runs_as_far_as_it_starts_no_sweep(text):
    exec(compile(text, "block", "exec"), {"__name__": "block"})


def test_every_command_that_is_shown_exists():
    from typer.main import get_command

    from sweeps.cli import app

    verbs = get_command(app).commands
    shown = {verb for page in PAGES for verb in re.findall(r"(?:\$ |`)sweeps ([a-z]+)", page.read_text())}
    assert len(shown) > 5
    assert shown <= verbs.keys()


def test_the_reference_names_every_key_of_a_sweep():
    text = (ROOT / "docs" / "sweep-yaml.md").read_text()
    missing = {key for key in keys(SweepConfig.model_json_schema()) if not re.search(rf"`(\w+\.)?{key}`", text)}
    assert missing == set()


def keys(schema: dict[str, Any]) -> Iterator[str]:
    for part in (schema, *schema["$defs"].values()):
        yield from part["properties"]


def test_the_reference_names_every_distribution():
    with pytest.raises(SpaceError) as caught:
        as_domain({"distribution": "no such"})
    allowed = re.search(r"allowed: ([\w, ]+)", str(caught.value))[1].split(", ")
    text = (ROOT / "docs" / "sweep-yaml.md").read_text()
    assert [name for name in allowed if f"`{name}`" not in text] == []
    assert [name for name in allowed if f"distribution: {name}," not in text] == []


def test_every_link_inside_the_repository_leads_somewhere():
    links = [(page, link) for page in PAGES for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())]
    assert [str(link) for page, link in links if not (page.parent / link).exists()] == []
