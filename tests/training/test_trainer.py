"""The training loop learns, resumes to the bit from any step, and notices when nothing is learned."""

import math
import subprocess
import sys
from itertools import chain
from pathlib import Path

import pytest
import torch
from torch import nn

from exitwave.data.errors import ExitwaveError, InputError
from exitwave.io.weights import Weights, read_training, write_training
from exitwave.training.averaging import update_average
from exitwave.training.collapse import Collapsed, Diverged, require_variation, variation
from exitwave.training.settings import TrainingSettings
from toy_training import Blurred, Tiny, course, same

WAYS = {
    "cosine": {},
    # So fast that it stalls.
    "plateau": {"schedule": "plateau", "learning_rate": 2.0, "warm_up": 0.0, "epochs": 6},
    "average": {"averaging": 0.9, "clip": 0.1, "weight_decay": 0.01},
    "plateau and average": {"schedule": "plateau", "averaging": 0.99, "learning_rate": 2.0, "epochs": 6},
}


def test_a_network_learns():
    lessons = Blurred()
    learning = course(lessons, epochs=40)
    seen = list(learning.run())
    assert [epoch.epoch for epoch in seen] == list(range(1, 41))
    assert [epoch.step for epoch in seen] == list(range(5, 201, 5))
    assert seen[-1].loss < 0.7 * seen[0].loss
    assert seen[-1].held_out_loss < 0.7 * seen[0].held_out_loss
    assert seen[-1].variation > 0.1


def test_the_given_network_stays_as_it_is():
    network = Tiny()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    learning = course(network=network, epochs=1)
    list(learning.run())
    assert same(before, network.state_dict())
    assert not same(before, learning.weights())


def trained(lessons: Blurred, epoch: int) -> list[list[int]]:
    """The samples of every step of an epoch."""
    return [samples for seed, held_out, samples in lessons.asked if not held_out and seed[1] == epoch]


def test_every_sample_is_seen_once_an_epoch_in_an_order_of_its_own():
    lessons = Blurred(samples=20)
    list(course(lessons, epochs=2).run())
    first, second = (list(chain(*trained(lessons, epoch))) for epoch in (1, 2))
    assert sorted(first) == sorted(second) == list(range(20))
    assert first != second
    assert first != list(range(20))
    judged = [(seed, samples) for seed, held_out, samples in lessons.asked if held_out]
    assert judged == [((3, 0, 0, 0), [0, 1, 2, 3, 4])] * 2


def test_steps_are_equally_large_and_never_larger_than_what_there_is():
    lessons = Blurred(samples=12)
    list(course(lessons, epochs=1, batch=5).run())
    assert [len(samples) for samples in trained(lessons, 1)] == [5, 5, 5]
    assert set(chain(*trained(lessons, 1))) == set(range(12))
    few = Blurred(samples=3)
    list(course(few, epochs=1, batch=5).run())
    assert sorted(few.asked[0][2]) == [0, 1, 2]


def test_seeds_differ_and_repeat():
    seen = [Blurred() for _ in range(3)]
    one, same_again, other = (course(lessons, seed=seed) for lessons, seed in zip(seen, (1, 1, 2), strict=True))
    for learning in (one, same_again, other):
        list(learning.run())
    assert trained(seen[0], 1) == trained(seen[1], 1) != trained(seen[2], 1)
    assert same(one.state(), same_again.state())
    assert not same(one.weights(), other.weights())


def interrupted_at(step: int, where: str, options: dict) -> dict[str, torch.Tensor]:
    """The memory of a course after Ctrl-C in its `step`: while the loss is computed, or after the step."""
    lessons, count = Blurred(), 0

    def press(*_: object) -> None:
        nonlocal count
        count += 1
        if count == step:
            raise KeyboardInterrupt

    if where == "in loss":
        usual = lessons.loss

        def loss(network, samples, *, held_out, seed):
            found = usual(network, samples, held_out=held_out, seed=seed)
            press()
            return found

        lessons.loss = loss
    learning = course(lessons, **options)
    with pytest.raises(KeyboardInterrupt):
        list(learning.run(press if where == "after step" else None))
    return learning.state()


@pytest.mark.parametrize("where", ["in loss", "after step"])
# Of 5 steps an epoch: the first, in the middle, at the end of an epoch, in a held-out loss (6, 12 of those asked for).
@pytest.mark.parametrize("step", [1, 5, 6, 8, 12, 15])
@pytest.mark.parametrize("way", WAYS)
def test_going_on_after_ctrl_c_is_exact(way, step, where):
    whole_course = course(**WAYS[way])
    expected = list(whole_course.run())
    memory = interrupted_at(step, where, WAYS[way])
    resumed = course(state=memory, network=Tiny(seed=9), **WAYS[way])
    done = resumed.epochs_done
    epochs = list(resumed.run())
    assert same(resumed.state(), whole_course.state())
    assert same(resumed.weights(), whole_course.weights())
    assert epochs == expected[done:]


@pytest.mark.parametrize("way", WAYS)
def test_going_on_after_an_epoch_is_exact(way):
    whole_course = course(**WAYS[way])
    memories = [whole_course.state() for _ in whole_course.run()]
    for memory in memories:
        resumed = course(state=memory, **WAYS[way])
        list(resumed.run())
        assert same(resumed.state(), memories[-1])


def test_going_on_from_a_file_is_exact(tmp_path):
    unbroken, path = course(averaging=0.9), tmp_path / "training.safetensors"
    list(unbroken.run())
    stopped = Weights(tensors=interrupted_at(7, "after step", {"averaging": 0.9}), spec={}, record={})
    write_training(path, stopped)
    resumed = course(state=read_training(path).tensors, averaging=0.9)
    list(resumed.run())
    assert same(resumed.state(), unbroken.state())


def test_a_memory_is_not_changed_by_going_on():
    learning = course(epochs=3, averaging=0.9)
    epochs = learning.run()
    next(epochs)
    memory, weights = learning.state(), learning.weights()
    kept, known = ({name: value.clone() for name, value in held.items()} for held in (memory, weights))
    list(epochs)
    list(course(state=memory, epochs=3, averaging=0.9).run())
    assert same(memory, kept)
    assert same(weights, known)


def test_watching_changes_nothing():
    plain, watched, seen = course(averaging=0.9), course(averaging=0.9), []
    alone = list(plain.run())
    seen_epochs = list(watched.run(seen.append))
    assert same(plain.state(), watched.state())
    assert alone == seen_epochs
    assert [(p.epoch, p.step, p.steps) for p in seen] == [(e, s, 5) for e in range(1, 5) for s in range(1, 6)]
    assert math.isnan(seen[0].held_out_loss)
    assert seen[-1].held_out_loss == alone[-2].held_out_loss


def test_memory_of_another_training_is_refused_by_name():
    learning = course(epochs=1)
    list(learning.run())
    memory = learning.state()
    with pytest.raises(InputError, match="had 5 steps of 5 samples an epoch, this one has 3 of 10"):
        course(state=memory, batch=10)
    with pytest.raises(InputError, match=r"lack layers\.0\.bias and 4 more"):
        course(state=memory, averaging=0.9)
    with pytest.raises(InputError, match=r"hold also layers\.0\.bias and 4 more"):
        course(state=memory, network=nn.Sequential(nn.Identity(), nn.Conv2d(1, 1, 3, padding=1)))
    with pytest.raises(InputError, match="not the memory of a training"):
        course(state={"network.scale": torch.ones(())})


def test_nothing_to_learn_from_is_refused():
    with pytest.raises(InputError, match="no training samples"):
        course(Blurred(samples=0))


def test_without_held_out_samples_the_training_loss_decides():
    learning = course(Blurred(held_out=0), schedule="plateau", learning_rate=1e-3, warm_up=0.0, epochs=6)
    assert all(math.isnan(epoch.held_out_loss) for epoch in learning.run())


def test_the_average_judges_and_predicts():
    plain, averaged = course(epochs=2), course(epochs=2, averaging=0.999)
    one, other = list(plain.run()), list(averaged.run())
    # The training itself does not know of the average.
    assert [epoch.loss for epoch in one] == [epoch.loss for epoch in other]
    assert one[-1].held_out_loss != other[-1].held_out_loss
    assert not same(plain.weights(), averaged.weights())
    assert {n: v.tolist() for n, v in averaged.state().items() if n.startswith("average")} == {
        f"average.{n}": v.tolist() for n, v in averaged.weights().items()
    }


def test_the_average_follows_quickly_at_first_and_then_by_its_decay():
    average, network = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    nn.init.zeros_(average.weight)
    nn.init.ones_(network.weight)
    expected = 0.0
    for step in range(30):
        update_average(average, network, 0.5, step)
        expected += (1 - min(0.5, (1 + step) / (10 + step))) * (1 - expected)
        assert average.weight.item() == pytest.approx(expected, rel=1e-6)


def test_the_average_of_resting_weights_is_those_weights():
    network = Tiny()
    learning = course(network=network, averaging=0.9, learning_rate=1e-30)
    list(learning.run())
    for name, value in learning.weights().items():
        torch.testing.assert_close(value, network.state_dict()[name])


class Constant(Tiny):
    """Looks at nothing."""

    def forward(self, images):
        return super().forward(0 * images)


@pytest.mark.parametrize("batch", [1, 5])
def test_a_collapsed_network_stops_the_training_with_advice(batch):
    learning = course(network=Constant(), collapse_check_after=7, batch=batch)
    with pytest.raises(
        Collapsed, match=r"after 7 steps .* lower learning_rate, take network='unet', another seed, or a curved"
    ):
        list(learning.run())
    assert learning.state()["course.numbers"][0] == 7
    unwatched = course(network=Constant(), collapse_check_after=0, batch=batch)
    assert [math.isnan(epoch.variation) for epoch in unwatched.run()] == [True] * 4


def test_images_that_differ_little_but_ever_more_are_no_collapse():
    require_variation(3e-5, math.nan, 1e-4, 200)
    require_variation(6e-5, 3e-5, 1e-4, 400)
    with pytest.raises(Collapsed, match=r"after 600 steps .* by 6\.1e-05"):
        require_variation(6.1e-5, 6e-5, 1e-4, 600)
    with pytest.raises(Collapsed):
        require_variation(0.0, math.nan, 1e-4, 200)
    require_variation(0.0, 0.0, 0.0, 200)


def test_a_single_sample_is_no_collapse():
    assert len(list(course(Blurred(samples=1), collapse_check_after=1).run())) == 4


def test_variation_is_the_share_of_the_variance():
    drawn = torch.Generator().manual_seed(0)
    noise = torch.randn(400, 1, 20, 20, generator=drawn)
    assert variation(noise) == pytest.approx(1, rel=1e-2)
    assert variation(10 + noise) == pytest.approx(1 / 101, rel=2e-2)
    assert variation(1 + 1e-3j * noise) == pytest.approx(1e-6, rel=2e-2)
    assert variation(torch.ones(8, 3, 3, dtype=torch.bfloat16)) == 0
    assert variation(torch.zeros(8, 3, 3)) == 0
    assert math.isnan(variation(noise[:1]))


@pytest.mark.parametrize(("spoil", "words"), [("loss", "the loss is not"), ("gradient", "its gradient is not")])
def test_what_is_not_finite_stops_the_training_before_it_spoils_the_weights(spoil, words):
    lessons = Blurred(held_out=0)
    usual = lessons.loss

    def loss(network, samples, *, held_out, seed):
        value, images = usual(network, samples, held_out=held_out, seed=seed)
        if seed == (3, 2, 2, 0):
            # The slope of a root at zero is infinite.
            value = (
                value / 0 if spoil == "loss" else value + (images * 0 * next(network.parameters()).sum()).sum().sqrt()
            )
        return value, images

    lessons.loss = loss
    learning = course(lessons)
    with pytest.raises(Diverged, match=f"{words} finite at step 8 .*lower learning_rate"):
        list(learning.run())
    assert issubclass(Diverged, ExitwaveError)
    assert learning.state()["course.numbers"][0] == 7
    assert all(bool(value.isfinite().all()) for value in learning.weights().values())


def test_patience_ends_a_training_that_stalls_and_stays_ended():
    options = {"learning_rate": 1e-30, "epochs": 50, "patience": 3}
    lessons = Blurred(noise=0.0, samples=20)
    learning = course(lessons, **options)
    done = list(learning.run())
    assert len(done) < 50
    assert list(course(lessons, state=learning.state(), **options).run()) == []


WAITING = """
import signal
from exitwave.training.interruption import defer_interrupt
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    with defer_interrupt():
        signal.raise_signal(signal.SIGINT)
        print("whole")
    print("not interrupted")
except KeyboardInterrupt:
    print("interrupted")
print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""


def test_ctrl_c_waits_for_what_must_not_be_half_done(tmp_path):
    assert alone(WAITING, tmp_path).split() == ["whole", "interrupted", "True"]


UPDATING = """
import signal
from toy_training import course, same
signal.signal(signal.SIGINT, signal.default_int_handler)
learning, count = course(), 0

def press(*_):
    global count
    count += 1
    if count == 8:
        signal.raise_signal(signal.SIGINT)

learning._optimizer.register_step_pre_hook(press)
try:
    list(learning.run())
except KeyboardInterrupt:
    print("interrupted")
resumed, unbroken = course(state=learning.state()), course()
print(int(learning.state()["course.numbers"][0]))
list(resumed.run())
list(unbroken.run())
print(same(resumed.state(), unbroken.state()))
"""


def test_ctrl_c_in_the_middle_of_an_update_is_exact(tmp_path):
    assert alone(UPDATING, tmp_path).split() == ["interrupted", "8", "True"]


def alone(program: str, folder: Path) -> str:
    """What a program prints that runs in a process of its own, where a signal reaches nobody else."""
    script = folder / "alone.py"
    script.write_text(f"import sys\nsys.path.insert(0, {str(Path(__file__).parents[1])!r})\n{program}")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0},
        {"batch": 0},
        {"learning_rate": 0.0},
        {"warm_up": 2.0},
        {"averaging": 1.0},
        {"clip": 0.0},
        {"patience": 0},
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(InputError, match=f"{next(iter(wrong))} of the training is"):
        TrainingSettings(**{"epochs": 1, **wrong})


RANKS = """
import sys
import torch
sys.path.insert(0, sys.argv[1])
from exitwave.training.trainer import Trainer
from exitwave.training.engine import fabric_for
from exitwave.training.settings import TrainingSettings
from toy_training import Blurred, Tiny
fabric = fabric_for("cpu", "32", 2)
settings = TrainingSettings(epochs=3, batch=4, averaging=0.9, learning_rate=1e-2)
learning = Trainer(Tiny(), Blurred(held_out=9), settings, fabric=fabric, seed=3)
epochs = list(learning.run())
if fabric.global_rank == 0:
    torch.save((learning.weights(), [[e.loss, e.held_out_loss, e.variation] for e in epochs]), sys.argv[2])
fabric.barrier()
"""


def test_two_processes_learn_what_one_learns_with_twice_the_batch(tmp_path):
    script, saved = tmp_path / "ranks.py", tmp_path / "ranks.pt"
    script.write_text(RANKS)
    words = [sys.executable, str(script), str(Path(__file__).parents[1]), str(saved)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    weights, told = torch.load(saved, weights_only=True)
    # Held-out samples that make two batches for one process and one for the other.
    alone = course(Blurred(held_out=9), batch=8, epochs=3, averaging=0.9)
    epochs = list(alone.run())
    for name, value in alone.weights().items():
        torch.testing.assert_close(weights[name], value, rtol=1e-4, atol=1e-6)
    assert [row[0] for row in told] == pytest.approx([epoch.loss for epoch in epochs], rel=1e-5)
    assert [row[1] for row in told] == pytest.approx([epoch.held_out_loss for epoch in epochs], rel=1e-5)
    assert all(row[2] > 0.01 for row in told)
