"""Shards of a study: the same work in total, the same rows, one writer each."""

import collections
import contextlib

import pytest

from bottleneck import execute, lock, study
from bottleneck.errors import UserError
from bottleneck.features.source import Kept
from bottleneck.planning import plan as plans
from bottleneck.training import loop

# Interventions on demand, an opposed pair, and a representation that joins chains: whoever trained its members.
STUDY = {
    "seeds": "1",
    "components.first.source.reliability": "{'background': 1.0}",
    "components.second.source.reliability": "{'background': 0.0}",
    "optimizer.lr": "0.1",
    "model.width": "16",
    "train.steps": "80",
    "data.test": "97",
    "arms": "mixture,direct,alone,heads",
    "analysis": "{'kinds': ('seeds', 'relatedness', 'cka'), 'batch': 16}",
    "representations": "{'both': {'members': ('mixture/*@last:features', 'mixture/*@1/2:layer1')}}",
}


@pytest.fixture
def work(monkeypatch):
    """What passes images through a network: ("pass", source's key, component) and ("train", run's key) -> how often."""
    done, extract, train = collections.Counter(), Kept.extract, loop.train

    def extracting(self, store, component, *given):
        done["pass", self.key, component.name] += 1
        return extract(self, store, component, *given)

    def training(members, *args, **kwargs):
        done.update(("train", member.run.key) for member in members)
        return train(members, *args, **kwargs)

    monkeypatch.setattr(Kept, "extract", extracting)
    monkeypatch.setattr(loop, "train", training)
    return done


def in_turn(config, workdir, count):
    """Runs every shard in turn until none is unfinished; returns how often each came."""
    codes, rounds = [execute.UNFINISHED], 0
    while execute.UNFINISHED in codes:
        codes = [execute.study(config, workdir, shard=(index, count)) for index in range(count)]
        rounds += 1
        assert rounds < 12, codes
    return rounds


@pytest.mark.slow
def test_four_shards_pass_and_train_as_much_as_one_process_and_leave_the_same_rows(tiny, tmp_path, work, capsys):
    assert execute.study(tiny(STUDY), tmp_path / "one") == execute.DONE
    alone = dict(work)
    assert any(kind == "train" for kind, *_ in alone) and max(alone.values()) == 1
    work.clear()
    assert in_turn(tiny(STUDY), tmp_path / "four", 4) > 1
    assert dict(work) == alone
    for name in ("results.jsonl", "report.html"):
        assert (tmp_path / "four" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()
    assert "wait for other shards or stages; run again when they are done" in capsys.readouterr().out


def test_a_shard_waits_for_what_others_have_to_do(tiny, tmp_path, work):
    config = tiny()
    codes = [execute.study(config, tmp_path, shard=(index, 2)) for index in (1, 0)]
    assert codes[0] == execute.UNFINISHED and not (tmp_path / "report.html").exists() or codes[1] == execute.DONE
    assert in_turn(config, tmp_path, 2) <= 2 and (tmp_path / "report.html").exists()
    assert max(work.values()) == 1


def test_no_run_and_no_pass_is_dealt_to_two_shards(tiny):
    graph = plans.plan(study.spec(tiny(STUDY))).graph
    dealt = graph.deal(4)
    assert set(dealt.values()) == {0, 1, 2, 3} and set(dealt) == set(graph.tasks)
    for task in graph:
        if task.KIND == "extract" and task.needs:
            assert dealt[task.key] == dealt[graph.maker[task.needs[0]].key]  # a pass goes with its run


@pytest.mark.parametrize(
    "held, asked, words", [((0, 1), (0, 1), "no other process on this shard"), ((0, 1), (1, 2), "shards of one number")]
)
def test_a_second_process_on_the_same_shard_is_refused_in_one_line(held, asked, words, tiny, tmp_path):
    with lock.hold(tmp_path, held), pytest.raises(UserError) as error:
        execute.study(tiny(), tmp_path, shard=asked)
    said = str(error.value)
    assert words in said and "\n" not in said and f"process {__import__('os').getpid()}" in said
    assert not list(tmp_path.glob("runs/*")) and not (tmp_path / "results.jsonl").exists()


def test_other_shards_of_the_same_number_are_welcome(tiny, tmp_path):
    with lock.hold(tmp_path, (0, 2)), contextlib.suppress(FileNotFoundError):
        assert execute.study(tiny(), tmp_path, shard=(1, 2)) == execute.UNFINISHED


def test_a_lock_that_nobody_holds_is_no_hindrance(tiny, tmp_path):
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks" / "0-of-1").write_text('{"host": "gone", "pid": 1, "shard": "0/1"}')
    assert execute.study(tiny({"seeds": "1"}), tmp_path, "pretrain") == execute.DONE
    assert not list((tmp_path / "locks").glob("*-of-*"))
