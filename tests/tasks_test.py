"""What a task is: its key, when it is done, and what every kind of the project says of itself."""

import dataclasses

import pytest

from bottleneck.pretraining import Train
from bottleneck.tasks import STAGES, Asked, Task
from tests.golden import specs


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Toy(Task):
    name: str = "a"
    wants: tuple[str, ...] = ()
    asks: tuple[Asked, ...] = ()

    KIND = "toy"
    VERSION = 1
    STAGE = "analyze"

    @property
    def identity(self):
        return {"name": self.name}

    @property
    def needs(self):
        return self.wants


class Newer(Toy):
    VERSION = 2


class Other(Toy):
    KIND = "other"


def test_the_key_is_of_identity_kind_version_and_needs():
    plain = Toy().key
    assert Toy().key == plain
    different = [Toy("b"), Newer(), Other(), Toy(wants=("rows/x",)), Toy(wants=("rows/x", "rows/y"))]
    assert len({plain, *(task.key for task in different)}) == 1 + len(different)


def test_neither_the_order_of_needs_nor_a_question_is_part_of_the_key():
    assert Toy(wants=("rows/x", "rows/y")).key == Toy(wants=("rows/y", "rows/x")).key
    assert Toy(asks=(Asked("rows/c", "lost a 0"),)).key == Toy().key


def test_two_tasks_of_one_key_are_the_same():
    assert Toy() == Toy(asks=(Asked("rows/c", "x"),)) and len({Toy(), Toy(), Toy("b")}) == 2
    assert Toy() != Newer() and Toy() != "a"


def test_a_task_makes_rows_of_its_key_unless_it_says_otherwise():
    assert Toy().makes == (f"rows/{Toy().key}",) and Toy().needs == () + Toy().wants


@pytest.mark.parametrize("there, done", [((), False), (("x",), False), (("x", "y"), True), (("x", "y", "z"), True)])
def test_a_task_is_done_when_all_that_it_makes_is_there(there, done):
    class Two(Toy):
        makes = ("x", "y")

    class Shelf:
        def has(self, output):
            return output in there

    assert Two().done(Shelf()) is done


def test_a_bare_task_says_neither_what_it_is_nor_what_it_does():
    with pytest.raises(NotImplementedError):
        Task().identity  # noqa: B018
    with pytest.raises(NotImplementedError):
        Task().run(None)


CLASSES = [cls for classes in specs.kinds().values() for cls in classes]


@pytest.mark.parametrize("cls", CLASSES)
def test_every_kind_has_a_name_a_version_and_a_stage(cls):
    assert cls.KIND and "-" not in cls.KIND  # rows name their kind as "kind-version"
    assert cls.STAGE in STAGES
    assert specs.versions()[cls.KIND] >= 1


def test_only_training_takes_the_whole_machine():
    assert [cls for cls in CLASSES if cls.ALONE] == [Train]


@pytest.mark.parametrize("cls", CLASSES)
def test_tasks_are_compared_by_key_and_cannot_be_changed(cls):
    assert cls.__eq__ is Task.__eq__ and cls.__hash__ is Task.__hash__
    assert not dataclasses.is_dataclass(cls) or cls.__dataclass_params__.frozen
