import subprocess
import sys

import pytest

import trainables

HEAVY = ("numpy", "pyarrow", "ray", "skorch", "sklearn", "torch")


def test_importing_the_package_imports_nothing_heavy():
    code = f"import sys, trainables; print([name for name in {HEAVY} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_every_public_name_is_listed_and_loads():
    assert set(trainables.__all__) <= set(dir(trainables))
    for name in trainables.__all__:
        assert getattr(trainables, name).__name__ == name


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Trainer'"):
        _ = trainables.Trainer
