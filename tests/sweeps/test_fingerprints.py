"""What a resume compares: changed code, parameters and data show; whatever says the same does not."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from importlib.metadata import version
from types import ModuleType

import nets
import pytest
import torch
from inline_sweeps import plan_of
from skorch import NeuralNetClassifier
from skorch.callbacks import EarlyStopping, EpochScoring, LRScheduler
from torch import nn
from torch.utils.data import Dataset

from sweeps.errors import SweepStateError
from sweeps.fingerprints import changes, describe_choices, describe_net, refuse_changes
from sweeps.manifest import make_manifest

USER_NET = """
from skorch import NeuralNetClassifier
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(8, 3)
    def forward(self, X):
        return self.layer(X)
class Wide(Net):
    pass
def make_net():
    return NeuralNetClassifier(Net, criterion=nn.CrossEntropyLoss, max_epochs=1, verbose=0)
"""


def manifest_of(plan):
    job = replace(plan.job, trials=plan.job.trials.absolute() / "inline" / "trials")
    return make_manifest(replace(plan, job=job), None, [])


@pytest.fixture(scope="module")
def plan():
    return plan_of({"lr": [0.1, 0.2], "max_epochs": 2})


@pytest.fixture
def user_code(tmp_path, monkeypatch):
    """Import source as the module ``user_code``, each time anew."""
    numbers = iter(range(10))

    def load(source: str):
        path = tmp_path / f"{next(numbers)}.py"
        path.write_text(source)
        spec = importlib.util.spec_from_file_location("user_code", path)
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, "user_code", module)
        spec.loader.exec_module(module)
        return module

    return load


def with_net(plan, net):
    return replace(plan, job=replace(plan.job, net=net))


def test_a_net_is_described_by_the_names_that_set_params_takes():
    stop, policy = ("stop", EarlyStopping(patience=3)), torch.optim.lr_scheduler.StepLR
    callbacks = [stop, LRScheduler(policy, step_size=2), EpochScoring("f1_macro"), EpochScoring("roc_auc")]
    net = NeuralNetClassifier(nets.Tiny, module__nodes=5, callbacks=callbacks)
    described = describe_net(net)
    assert described["class"] == "skorch:NeuralNetClassifier"
    assert described["module"].startswith("nets:Tiny (source ")
    assert (described["module__nodes"], described["lr"]) == ("5", "0.01")
    assert described["callbacks__stop"] == "skorch.callbacks:EarlyStopping"
    assert described["callbacks__stop__patience"] == "3"
    assert described["callbacks__LRScheduler__policy"] == "torch.optim.lr_scheduler:StepLR"
    assert described["callbacks__EpochScoring_2__scoring"] == "'roc_auc'"
    net.initialize()
    known = net.get_params()
    assert [name for name in described if name != "class" and name not in known] == []


def test_parameters_of_callbacks_that_were_set_on_the_net_win():
    described = describe_net(nets.make_net(callbacks__misbehave__at=7, callbacks__print_log=None))
    assert described["callbacks__misbehave__at"] == "7"
    assert not [name for name in described if "print_log" in name]


def test_disabled_callbacks_show():
    assert describe_net(NeuralNetClassifier(nets.Tiny, callbacks="disable"))["callbacks"] == "'disable'"


@pytest.mark.parametrize("make", [nets.make_net, nets.make_headed_net])
def test_a_net_that_has_trained_is_described_as_before(make):
    net = make()
    before = describe_net(net)
    net.set_params(device="cpu", verbose=0).fit(*nets.make_data())
    assert describe_net(net) == before


def test_nothing_changed(plan):
    found = changes(with_net(plan, nets.make_net()), manifest_of(plan))
    assert (found.refusing, found.notes) == ((), ())
    assert refuse_changes(plan, manifest_of(plan), accept=False) == []


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"batch_size": 64}, "net.batch_size: 32 -> 64"),
        ({"module__nodes": 4}, "net.module__nodes: (absent) -> 4"),
        ({"optimizer": torch.optim.Adam}, "net.optimizer: torch.optim:SGD -> torch.optim:Adam"),
        ({"callbacks__misbehave__at": 9}, "net.callbacks__misbehave__at: 3 -> 9"),
        (
            {"criterion__weight": torch.tensor([1.0, 2.0, 3.0])},
            "net.criterion__weight: (absent) -> tensor float32 [1.0, 2.0, 3.0]",
        ),
    ],
)
def test_a_changed_parameter_shows_both_values(plan, change, line):
    assert changes(with_net(plan, nets.make_net(**change)), manifest_of(plan)).refusing == (line,)


def test_a_callback_that_is_gone_shows(plan):
    begun = with_net(plan, nets.make_net(callbacks=[("stop", EarlyStopping(patience=5))]))
    found = changes(with_net(plan, nets.make_net(callbacks=[])), manifest_of(begun))
    assert "net.callbacks__stop: skorch.callbacks:EarlyStopping -> (absent)" in found.refusing
    assert "net.callbacks__stop__patience: 5 -> (absent)" in found.refusing


def test_what_the_space_always_sets_does_not_count(plan):
    net = nets.make_net(lr=0.7, max_epochs=50, device="cuda", verbose=1, iterator_train__num_workers=8)
    assert changes(with_net(plan, net), manifest_of(plan)).refusing == ()


def test_what_the_space_sets_under_a_condition_counts():
    parameters = {"lr": [0.1, 0.2], "batch_size": {"values": [16, 64], "when": {"lr": 0.1}}}
    plan = plan_of(parameters)
    found = changes(with_net(plan, nets.make_net(batch_size=128)), manifest_of(plan))
    assert found.refusing == ("net.batch_size: 32 -> 128",)


def test_parameters_of_a_callback_that_the_space_sets_as_a_whole_do_not_count():
    plan = plan_of({"callbacks__misbehave": [None], "lr": [0.1]})
    net = nets.make_net(callbacks=[("misbehave", nets.Misbehave(at=1))])
    assert changes(with_net(plan, net), manifest_of(plan)).refusing == ()


def test_changed_source_names_the_class_and_both_hashes(plan, user_code):
    manifest = manifest_of(with_net(plan, user_code(USER_NET).make_net()))
    changed = user_code(USER_NET.replace("self.layer(X)", "self.layer(X) / 2")).make_net()
    (line,) = changes(with_net(plan, changed), manifest).refusing
    assert line.startswith("net.module: source of user_code:Net changed (")
    assert len(set(line[:-1].partition("(")[2].split(" -> "))) == 2


def test_changed_source_of_a_base_class_of_a_choice_shows(user_code):
    parameters = {"module": ["user_code:Net", "user_code:Wide"]}
    manifest = manifest_of(plan_of(parameters, net=user_code(USER_NET).make_net()))
    changed = plan_of(parameters, net=user_code(USER_NET.replace("(X)\n", "(X) / 2\n")).make_net())
    lines = changes(changed, manifest).refusing
    assert [line.partition(" changed")[0] for line in lines] == [
        "net.module=user_code:Net: source of user_code:Net",
        "net.module=user_code:Wide: source of user_code:Net",
    ]


def test_the_same_source_in_a_script_or_a_module_is_the_same_net(plan, user_code):
    manifest = manifest_of(with_net(plan, user_code(USER_NET).make_net()))
    as_script = {
        name: text.replace("user_code:Net", "__main__:Net") for name, text in manifest["net_description"].items()
    }
    assert as_script != manifest["net_description"]
    now = with_net(plan, user_code(USER_NET).make_net())
    assert changes(now, manifest | {"net_description": as_script}).refusing == ()


@pytest.mark.parametrize("begun_with_source", [True, False])
def test_code_without_source_is_noted_and_does_not_refuse(plan, user_code, begun_with_source, monkeypatch):
    manifest = manifest_of(with_net(plan, user_code(USER_NET).make_net()))
    console = ModuleType("user_code")  # has no file
    exec(USER_NET, vars(console))
    monkeypatch.setitem(sys.modules, "user_code", console)
    now = with_net(plan, console.make_net())
    found = changes(now, manifest if begun_with_source else manifest_of(now))
    assert found.refusing == ()
    assert found.notes == ("net.module: user_code:Net has no source to compare, so a change of it is not seen",)


def test_only_what_can_be_imported_is_described_as_a_choice():
    assert describe_choices({"optimizer": {"torch.optim:SGD": torch.optim.SGD, "tensor(1)": torch.tensor(1)}}) == {
        "optimizer=torch.optim:SGD": "torch.optim:SGD"
    }


def test_what_the_space_offers_only_now_or_no_more_is_no_change_of_the_net():
    few, more = (
        plan_of({"optimizer": names}) for names in (["torch.optim:SGD"], ["torch.optim:SGD", "torch.optim:Adam"])
    )
    for now, begun in ((few, more), (more, few)):
        assert changes(now, manifest_of(begun)).refusing == ()
    manifest = manifest_of(more)
    manifest["net_description"]["optimizer=torch.optim:SGD"] = "torch.optim:Adam"
    assert changes(few, manifest).refusing == ("net.optimizer=torch.optim:SGD: torch.optim:Adam -> torch.optim:SGD",)


def test_other_data_show_rows_and_fingerprints(plan):
    now = plan_of({"lr": [0.1]}, data=nets.make_other_data())
    (line,) = changes(now, manifest_of(plan)).refusing
    begun, found = plan.job.data.fingerprint[:19], now.job.data.fingerprint[:19]
    assert line == f"data: 240 rows ({begun}) -> 210 rows ({found})"


def test_another_number_of_splits_shows(plan):
    now = plan_of({"lr": [0.1]}, validation={"type": "cv", "n_splits": 2})
    assert changes(now, manifest_of(plan)).refusing == ("data: 1 splits -> 2",)


class Rows(Dataset):
    def __len__(self):
        return 240

    def __getitem__(self, index):
        X, y = nets.make_data()
        return X[index], y[index]


def test_the_class_of_a_dataset_is_compared():
    plan = plan_of({"lr": [0.1], "max_epochs": 1}, data=(Rows(), nets.make_data()[1]))
    manifest = manifest_of(plan)
    begun = manifest["data"]["class"]
    assert "Rows (source " in begun
    assert changes(plan, manifest).refusing == ()
    manifest["data"]["class"] = begun[:-13] + "000000000000)"
    (line,) = changes(plan, manifest).refusing
    assert "Rows changed (000000000000 -> " in line


def test_another_torch_is_noted(plan):
    manifest = manifest_of(plan)
    manifest["versions"] |= {"torch": "1.13.1", "numpy": "1.0"}
    found = changes(with_net(plan, nets.make_net(module__nodes=4)), manifest)
    assert found.refusing == ("net.module__nodes: (absent) -> 4",)
    assert found.notes == (f"versions: torch 1.13.1 -> {version('torch')}",)


def test_parameters_that_another_skorch_has_or_lacks_do_not_refuse(plan):
    manifest = manifest_of(plan)
    manifest["versions"]["skorch"] = "0.15.0"
    del manifest["net_description"]["compile"]
    found = changes(plan, manifest)
    assert found.refusing == ()
    assert found.notes == (f"versions: skorch 0.15.0 -> {version('skorch')}", "net.compile: (absent) -> False")
    assert changes(with_net(plan, nets.make_net(batch_size=8)), manifest).refusing == ("net.batch_size: 32 -> 8",)


def test_a_patch_release_is_not_worth_a_note(plan):
    manifest = manifest_of(plan)
    manifest["versions"]["torch"] = ".".join([*torch.__version__.split(".")[:2], "99+cpu"])
    assert changes(plan, manifest).notes == ()


def test_a_manifest_without_a_description_still_guards_the_data(plan):
    manifest = manifest_of(plan)
    del manifest["net_description"]
    assert changes(with_net(plan, nets.make_net(batch_size=8)), manifest).refusing == ()
    assert "did not describe the net" in refuse_changes(plan, manifest, accept=False)[0]
    manifest["data"]["fingerprint"] = "sha256:" + 64 * "0"
    with pytest.raises(SweepStateError, match=r"data: 240 rows \(sha256:000000000000\) -> 240 rows"):
        refuse_changes(plan, manifest, accept=False)


def test_refusing_lists_every_difference_and_says_how_to_accept_them(plan):
    now = with_net(plan, nets.make_net(batch_size=64, module__nodes=4))
    with pytest.raises(SweepStateError) as error:
        refuse_changes(now, manifest_of(plan), accept=False)
    for part in ("inline", "batch_size: 32 -> 64", "module__nodes", "--accept-changes", "accept_changes=True"):
        assert part in str(error.value)
    assert refuse_changes(now, manifest_of(plan), accept=True) == [
        "change accepted: net.batch_size: 32 -> 64",
        "change accepted: net.module__nodes: (absent) -> 4",
    ]


def test_criteria_with_weights_do_not_differ_from_themselves(plan):
    def make():
        return nets.make_net(criterion=nn.CrossEntropyLoss, criterion__weight=torch.ones(30))

    assert changes(with_net(plan, make()), manifest_of(with_net(plan, make()))).refusing == ()
