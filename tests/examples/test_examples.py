"""The examples run as their comments and the README say, from the command line and from Python."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from search_spaces import SearchSpace
from sweeps import load_spec

ROOT = Path(__file__).parents[2]
EXAMPLES = ("convnet", "diabetes", "digits")
ONE_WORKER = "resources.max_concurrent_trials=1"  # a second one takes longer to start than these few epochs
BOTH = f"""
import sys
import ray
from sweeps import Sweep

if __name__ == "__main__":
    sys.path.insert(0, {str(ROOT)!r})
    ray.init(address="local", include_dashboard=False, log_to_driver=False)
    for example, epochs in (("convnet", 2), ("diabetes", [2, 3])):
        few = ["searcher.num_samples=2", f"parameters.max_epochs={{epochs}}", "{ONE_WORKER}", "storage=" + sys.argv[1]]
        Sweep.from_yaml(f"examples/{{example}}/sweep.yaml", few).run()
"""
SWEEPS = (sys.executable, "-c", "import sys; from sweeps.cli import main; sys.exit(main())")


def execute(*command: str | Path, cwd: Path) -> str:
    """Run a program as a person would, in a process of its own; its stdout."""
    done = subprocess.run(command, cwd=cwd, env=os.environ, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_script(example: str, folder: Path) -> tuple[Path, dict]:
    """The sweep that an example's run.py leaves in ./results of another folder, and its best trial."""
    execute(sys.executable, ROOT / "examples" / example / "run.py", cwd=folder)
    [sweep] = (folder / "results").iterdir()
    return sweep, json.loads(execute(*SWEEPS, "best", sweep, "-o", "json", cwd=folder))


@pytest.fixture(scope="module")
def digits_sweep(tmp_path_factory):
    """A few trials of the digits example, from the command line."""
    storage = tmp_path_factory.mktemp("storage")
    changes = ("--set", "searcher.num_samples=4", "--set", "parameters.max_epochs=4", "--set", ONE_WORKER)
    command = ("run", "examples/digits/sweep.yaml", "--storage", storage, "--name", "few", "-q", *changes)
    execute(*SWEEPS, *command, cwd=ROOT)
    return storage / "few"


@pytest.fixture(scope="module")
def other_sweeps(tmp_path_factory):
    """Two short trials of each of the other examples, by their sweep.yaml and in one process."""
    storage = tmp_path_factory.mktemp("storage")
    (storage / "both.py").write_text(BOTH)
    execute(sys.executable, storage / "both.py", storage, cwd=ROOT)
    return storage


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_is_a_valid_sweep(example):
    config = load_spec(ROOT / "examples" / example / "sweep.yaml")
    assert config.name == example
    assert config.net == f"examples.{example}.model:make_net"


@pytest.mark.ray
@pytest.mark.slow
class TestDigits:
    def test_leaves_the_whole_directory(self, digits_sweep):
        left = {path.name for path in digits_sweep.iterdir()}
        assert {"sweep.yaml", "manifest.json", "journal", "trials", "trials.parquet", "metrics.parquet"} <= left
        best = {path.name for path in (digits_sweep / "best").iterdir()}
        assert best == {"model.safetensors", "params.yaml", "trial.json", "history.json", "HOWTO.md"}

    def test_the_best_net_predicts_from_the_howto_alone(self, digits_sweep, tmp_path):
        block = (digits_sweep / "best" / "HOWTO.md").read_text().split("```python\n")[1].split("```")[0]
        predict = (
            "from sklearn.datasets import load_digits\n"
            "X, y = load_digits(return_X_y=True)\n"
            "print((net.predict(X.astype('float32')) == y).mean())\n"
            "print(sorted(name for name in ('sweeps', 'ray') if name in sys.modules))\n"
        )
        (tmp_path / "use.py").write_text(block + predict)
        accuracy, ours = execute(sys.executable, tmp_path / "use.py", cwd=tmp_path).splitlines()
        assert float(accuracy) > 0.8
        assert ours == "[]"

    def test_its_resolved_spec_can_be_run_again(self, digits_sweep):
        checked = execute(*SWEEPS, "validate", digits_sweep / "sweep.yaml", "-o", "json", cwd=ROOT)
        assert json.loads(checked)

    def test_the_script_finds_a_good_net(self, tmp_path):
        sweep, best = run_script("digits", tmp_path)
        assert best["score"] >= 0.96
        assert_same_search(sweep, "digits")


@pytest.mark.ray
@pytest.mark.slow
class TestDiabetes:
    def test_the_sweep_runs(self, other_sweeps):
        assert (other_sweeps / "diabetes" / "best" / "model.safetensors").is_file()

    def test_the_script_explains_a_good_part_of_the_variance(self, tmp_path):
        sweep, best = run_script("diabetes", tmp_path)
        assert best["score"] >= 0.4
        assert_same_search(sweep, "diabetes")


@pytest.mark.ray
@pytest.mark.slow
class TestConvnet:
    def test_the_sweep_runs(self, other_sweeps):
        assert (other_sweeps / "convnet" / "best" / "model.safetensors").is_file()

    def test_the_script_finds_a_good_net(self, tmp_path):
        sweep, best = run_script("convnet", tmp_path)
        assert best["score"] >= 0.95
        assert_same_search(sweep, "convnet")


def assert_same_search(sweep: Path, example: str) -> None:
    """What the script ran is what the example's sweep.yaml says."""
    run, said = load_spec(sweep / "sweep.yaml"), load_spec(ROOT / "examples" / example / "sweep.yaml")
    assert SearchSpace(run.parameters) == SearchSpace(said.parameters)
    for section in ("metric", "scoring", "validation", "searcher", "scheduler", "seed"):
        assert getattr(run, section) == getattr(said, section), section
