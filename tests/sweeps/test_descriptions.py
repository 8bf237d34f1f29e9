"""Values described: equal for equal code in any process and folder, different once the code or a value is."""

from __future__ import annotations

import enum
import functools
import importlib.util
import json
import logging
import os
import subprocess
import sys
import threading
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import f1_score, make_scorer
from sklearn.model_selection import StratifiedKFold
from skorch.callbacks import EarlyStopping
from torch import nn
from torch.utils.data import WeightedRandomSampler

from sweeps.descriptions import counting, describe, sources_in, without_modules, without_sources

USER_CODE = '''
"""A user's module with one of everything."""
import functools, logging
from pathlib import Path
import numpy as np
import torch
from sklearn.metrics import f1_score, make_scorer
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback, EarlyStopping, EpochScoring, LRScheduler
from torch import nn

class Base(nn.Module):
    def __init__(self, nodes=4):
        super().__init__()
        self.layer = nn.Linear(8, 3)

class Net(Base):
    def forward(self, X):
        return self.layer(X)

class Holder(Callback):
    def __init__(self, mask=np.arange(100), words=frozenset("abcdefgh"), table={"x": {"p", "q", "r"}},
                 folder=Path(__file__).parent, logger=logging.getLogger("user"), lock=object()):
        self.mask, self.words, self.table = mask, words, table
        self.folder, self.logger, self.lock = folder, logger, lock

def decay(rate):
    return lambda epoch: rate**epoch

def score(net, X, y, weight=1.0):
    return weight

def make_net():
    return NeuralNetClassifier(
        Net,
        module__nodes=8,
        criterion=nn.CrossEntropyLoss(weight=torch.ones(3)),
        optimizer__param_groups=[("layer.*", {"lr": 0.1})],
        callbacks=[
            ("holder", Holder()),
            ("stop", EarlyStopping(patience=3)),
            ("decay", LRScheduler(torch.optim.lr_scheduler.LambdaLR, lr_lambda=decay(0.9))),
            LRScheduler("StepLR", step_size=2),
            LRScheduler,
            ("f1", EpochScoring(make_scorer(f1_score, average="macro"), name="f1")),
            ("own", EpochScoring(functools.partial(score, weight=2.0), name="own")),
            ("const", EpochScoring(lambda net, X, y: 1.0, name="const")),
        ],
    )
'''
DESCRIBE = """
import json, examples.digits.model, examples.convnet.model, examples.diabetes.model, nets, user_code
from sweeps.fingerprints import describe_net
makers = [examples.digits.model.make_net, examples.convnet.model.make_net, examples.diabetes.model.make_net]
makers += [nets.make_net, nets.make_headed_net, user_code.make_net]
print(json.dumps([describe_net(make()) for make in makers], indent=1))
"""
ROOT = Path(__file__).parents[2]


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Import source text as the module ``user_code``, or another; each time anew and from a folder of its own."""
    numbers = iter(range(100))

    def load(source: str, name: str = "user_code"):
        path = tmp_path / str(next(numbers)) / f"{name}.py"
        path.parent.mkdir()
        path.write_text(source)
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.mark.slow
def test_fresh_processes_with_other_hash_seeds_and_folders_give_the_same_texts(tmp_path):
    processes = []
    for seed in ("1", "2"):
        folder = tmp_path / seed
        folder.mkdir()
        (folder / "user_code.py").write_text(USER_CODE)
        path = os.pathsep.join([str(folder), str(ROOT), str(ROOT / "tests")])
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": path}
        processes.append(
            subprocess.Popen([sys.executable, "-c", DESCRIBE], env=environment, stdout=subprocess.PIPE, text=True)
        )
    texts = [process.communicate(timeout=120)[0] for process in processes]
    assert texts[0] == texts[1]
    assert str(tmp_path) not in texts[0]
    assert "0x" not in texts[0]
    assert len(json.loads(texts[0])) == 6


class Colour(enum.Enum):
    RED = 1


class Settings:
    def __init__(self, **values):
        vars(self).update(values)


def plain_function(x):
    return x


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "None"),
        (True, "True"),
        (0.1, "0.1"),
        (np.float64(0.1), "0.1"),
        (np.int32(3), "3"),
        ("adam", "'adam'"),
        ((1, "a", [2.0]), "[1, 'a', [2.0]]"),
        ({"b", "a"}, "{'a', 'b'}"),
        ({"b": 1, "a": 2}, "{'a': 2, 'b': 1}"),
        (range(3), "range(0, 3)"),
        (b"abc", "3 bytes ba7816bf8f01"),
        (torch.float16, "torch.float16"),
        (np.add, "numpy:add"),
        (torch.optim.SGD, "torch.optim:SGD"),
        (torch.optim.lr_scheduler.StepLR, "torch.optim.lr_scheduler:StepLR"),
        (nn.functional.relu, "torch.nn.functional:relu"),
        (torch.tensor([1.0, 2.5]), "tensor float32 [1.0, 2.5]"),
        (np.array([[1, 2]]), "array int64 [[1, 2]]"),
        (np.array(["a", None], dtype=object), "['a', None]"),
        (np.array("a"), "'a'"),
        (nn.Linear(2, 3), "module: torch.nn:Linear(in_features=2, out_features=3)"),
        (StratifiedKFold(3), "sklearn.model_selection:StratifiedKFold(n_splits=3, random_state=None, shuffle=False)"),
    ],
)
def test_values_are_written_as_one_would_read_them(value, text):
    assert describe(value) == text


@pytest.mark.parametrize(
    "value",
    [
        torch.ones(20, dtype=torch.bfloat16),
        torch.eye(5).to_sparse(),
        torch.ones(20, dtype=torch.complex64).conj(),
        torch.ones(4, 6).T,
        nn.Parameter(torch.ones(20)),
        np.arange(20)[::2],
        np.ones(20, dtype=[("a", "f4"), ("b", "i8")]),
        np.array([], dtype="U"),
        pd.DataFrame({"x": np.arange(20)}),
        torch.empty(2, device="meta"),
        torch.Generator(),
        threading.Lock(),
        logging.getLogger("some"),
        functools.lru_cache(plain_function),
        sys,
        WeightedRandomSampler(torch.ones(50), 50),
        make_scorer(f1_score, average="macro"),
        nn.Sequential(OrderedDict(norm=nn.BatchNorm1d(2), drop=nn.Dropout())),
        [].append,
        Settings(own=plain_function),
        Colour.RED,
    ],
    ids=lambda value: type(value).__name__,
)
def test_any_object_is_described_without_an_address(value):
    assert describe(value) == describe(value)
    assert "0x" not in describe(value)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (torch.arange(20), torch.arange(20) + 1),
        (np.arange(20), np.arange(20).astype("float32")),
        (np.arange(20), np.arange(20).reshape(4, 5)),
        (pd.Series(np.arange(20)), pd.Series(np.arange(1, 21))),
        (nn.CrossEntropyLoss(weight=torch.ones(3)), nn.CrossEntropyLoss(weight=torch.zeros(3))),
        (WeightedRandomSampler(torch.ones(50), 50), WeightedRandomSampler(torch.zeros(50), 50)),
        (make_scorer(f1_score, average="macro"), make_scorer(f1_score, average="micro")),
        (functools.partial(plain_function, 1), functools.partial(plain_function, 2)),
        (Settings(own=torch.arange(20)), Settings(own=torch.arange(1, 21))),
        (EarlyStopping(patience=3), EarlyStopping(patience=4)),
        ("x" * 1000, "x" * 999 + "y"),
        ("data/one.npz", "data/two.npz"),
        ("/data/one.npz", "/data/two.npz"),
        (nn.Sequential(nn.Linear(2, 2)), nn.Sequential(nn.Linear(2, 2), nn.ReLU())),
        (1, True),
        (1, "1"),
    ],
)
def test_another_value_gives_another_text(one, other):
    assert describe(one) != describe(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (nn.Linear(4, 4), nn.Linear(4, 4)),  # weights drawn at random
        (Path("/home/me/data/x.npz"), Path("/scratch/x.npz")),
        ("/home/me/data/x.npz", "C:\\data\\x.npz"),
        ("/tmp/tmpx81k2", "/home/me/project"),
        (torch.device("cpu"), torch.device("cuda", 1)),
        (Settings(device="cpu", verbose=0, num_workers=2), Settings(device="cuda", verbose=1, num_workers=64)),
        (Settings(learned_=1, _cache={}), Settings(learned_=2, _cache={1: 2})),
        (np.random.default_rng(0), np.random.default_rng(1)),
        ("s3://me:word@host/x", "s3://you:other@host/x"),
    ],
)
def test_what_the_machine_or_the_moment_decides_does_not_count(one, other):
    assert describe(one) == describe(other)


@pytest.mark.parametrize("name", ["password", "db_passwd", "secret", "api_key", "apiKey", "hf_token", "AUTH_TOKEN"])
def test_no_secret_is_told(name):
    held = [Settings(**{name: "hunter2"}), {"login": {name: "hunter2"}}, functools.partial(print, **{name: "hunter2"})]
    assert "hunter2" not in describe(held)
    assert counting({name: "hunter2", "lr": 0.1}) == [("lr", 0.1)]


def test_a_number_of_tokens_or_keys_is_no_secret():
    assert describe(Settings(n_tokens=5, key_size=3)).endswith("(key_size=3, n_tokens=5)")


def test_an_object_that_holds_itself_is_described():
    held = Settings(n=1)
    held.me, held.all = held, [held]
    assert without_sources(describe(held)) == "Settings(all=[itself], me=itself, n=1)"


def test_code_of_the_user_is_named_with_its_source_and_that_of_its_bases(load):
    module = load(USER_CODE)
    assert [name for name, _ in sources_in(describe(module.Net))] == ["user_code:Net", "user_code:Base"]
    assert without_sources(describe(module.Net)) == "Net < Base"
    assert [name for name, _ in sources_in(describe(module.Holder))] == ["user_code:Holder"]


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        ("return self.layer(X)", "return self.layer(X) / 2", "Net"),
        ("nn.Linear(8, 3)", "nn.Linear(8, 3, bias=False)", "Net"),
        ("return weight", "return -weight", "score"),
    ],
)
def test_changed_source_changes_the_text_but_not_the_names(load, old, new, name):
    before = describe(getattr(load(USER_CODE), name))
    after = describe(getattr(load(USER_CODE.replace(old, new)), name))
    assert before != after
    assert without_sources(before) == without_sources(after)


def test_source_that_only_moved_is_the_same_code(load):
    before, after = (describe(load(USER_CODE, name).Net) for name in ("user_code", "elsewhere"))
    assert before != after
    assert without_modules(before) == without_modules(after)


def test_what_a_function_captured_counts_beside_its_source(load):
    decay = load(USER_CODE).decay
    assert describe(decay(0.9)).endswith("(rate=0.9)")
    assert without_sources(describe(decay(0.9))) != without_sources(describe(decay(0.8)))


def test_a_class_without_source_says_so():
    made = type("Made", (nn.Module,), {"__module__": "nowhere"})
    assert describe(made) == "nowhere:Made (no source)"


def test_a_long_description_is_cut_and_still_tells_the_rest():
    text = describe(list(range(1000)))
    assert len(text) < 300
    assert text != describe([*range(999), -1])
