"""Training loop with a small recogniser: overfitting, resuming, early stopping, devices."""

import functools
import itertools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sklearn.metrics
from small_tasks import create_recognition_task

from irec_jax import data, preemption
from irec_jax.checkpoints import state, storage
from irec_jax.errors import UserError
from irec_jax.training import loop, optimizers, parallel, step
from irec_jax.training.logging import Logger

NO_PROFILE = {"start_step": 0, "num_steps": 0}
SETTINGS = dict(
    num_epochs=3,
    patience=5,
    stop_by="loss",
    best_by="loss",
    log_every_steps=1,
    checkpoint_every_s=None,
    checkpoint_every_steps=0,
)


class Run:
    """Compiled training step, shared by all tests of this file."""

    def __init__(self, ema_decay=None, **changes):
        self.ema = ema_decay is not None
        self.task = create_recognition_task(**changes)
        self.optimizer, self.schedule = optimizers.create_optimizer(
            {"name": "adam", "learning_rate": 1e-2, "schedule": {"name": ""}, "clip_norm": 0.0}, 99
        )
        train_step = functools.partial(
            step.train_step,
            loss=self.task.loss,
            optimizer=self.optimizer,
            l2=1e-5,
            ema_decay=ema_decay,
        )
        self.train_step = parallel.map_step(train_step, donate_state=True)
        self.eval_batches = None
        self.evaluate = step.create_evaluate(self.task.loss, lambda: self.eval_batches.iterate())

    def state(self, seed=0):
        variables = self.task.init(jax.random.key(seed))
        return state.create(*variables, self.optimizer, self.task.scalars, seed, ema=self.ema)

    def several_steps(self, *, scan, cut=None):
        """Return the mapped step that takes several steps per call, or positions as inputs."""
        train_step = functools.partial(
            step.train_step, loss=self.task.loss, optimizer=self.optimizer, l2=1e-5
        )
        return parallel.map_step(
            step.several_steps(train_step, scan=scan, cut=cut), donate_state=True
        )

    def fit(self, clips, workdir, *, train_step=None, evaluate=None, **settings):
        self.eval_batches = data.Batches(clips, window_samples=2000, batch_size=8, shuffle=False)
        calls = {k: settings.pop(k) for k in ("steps_per_call", "store") if k in settings}
        training_run = loop.TrainingRun(
            train_step=train_step or self.train_step,
            batches=data.Batches(clips, window_samples=2000, batch_size=8),
            **calls,
            evaluate=evaluate or self.evaluate,
            settings=SETTINGS | settings,
            profile=NO_PROFILE,
            schedule=self.schedule,
            workdir=workdir,
            logger=Logger(None),
        )
        return training_run.fit(self.state())


@pytest.fixture(scope="module")
def run():
    return Run()


def assert_equal_trees(first, second):
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        np.testing.assert_array_equal(a, b)


def test_overfits_one_batch_and_separates_the_classes(run, tone_clips):
    clips = tone_clips(num_clips=6, num_samples=2000)
    batch = data.Batches(clips, window_samples=2000, batch_size=8, shuffle=False)[0]
    current, losses = parallel.replicate(run.state()), []
    for _ in range(120):
        current, loss = run.train_step(current, parallel.shard(batch))
        losses.append(float(loss[0]))
    assert np.mean(losses[-10:]) < 0.3 * losses[0]
    last = parallel.first(current)
    predict = jax.jit(run.task.predict)
    predictions = predict(last.params, last.model_state, batch)
    rows = batch["mask"] > 0
    assert rows.tolist() == [True] * 6 + [False] * 2
    assert (predictions.argmax(1) == batch["labels"].argmax(1))[rows].all()
    # Examples are independent, and masked examples have no influence.
    single = predict(last.params, last.model_state, {k: v[:1] for k, v in batch.items()})
    np.testing.assert_allclose(single[0], predictions[0], rtol=1e-5, atol=1e-6)
    with_noisy_padding = dict(batch, audio=batch["audio"].copy(), labels=batch["labels"].copy())
    with_noisy_padding["audio"][~rows] = 1000 * np.arange(2000) % 3000
    with_noisy_padding["labels"][~rows] = 1.0
    results = []
    for variant in (batch, with_noisy_padding):
        updated, _ = run.train_step(parallel.replicate(last), parallel.shard(variant))
        results.append(parallel.first(updated).params)
    for a, b in zip(*map(jax.tree.leaves, results), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


class Killed(Exception):
    pass


def killed_after(run, num_calls):
    """Return the training step of a run that is killed after a number of calls."""
    calls = itertools.count()

    def train_step(*arguments):
        if next(calls) >= num_calls:
            raise Killed
        return run.train_step(*arguments)

    return train_step


@pytest.mark.parametrize("after", [2, 5, 9])
def test_resumed_run_matches_an_uninterrupted_run(run, tone_clips, tmp_path, after):
    clips = tone_clips()
    uninterrupted, progress = run.fit(clips, tmp_path / "uninterrupted", checkpoint_every_steps=2)

    with pytest.raises(Killed):
        run.fit(
            clips, tmp_path / "cut", train_step=killed_after(run, after), checkpoint_every_steps=2
        )
    resumed, resumed_progress = run.fit(clips, tmp_path / "cut", checkpoint_every_steps=2)
    assert_equal_trees(uninterrupted, resumed)
    for row, resumed_row in zip(progress.history, resumed_progress.history, strict=True):
        ignored = {"seconds"}
        assert {k: v for k, v in row.items() if k not in ignored} == {
            k: v for k, v in resumed_row.items() if k not in ignored
        }
    # A finished run is not trained further.
    finished, _ = run.fit(
        clips, tmp_path / "cut", train_step=killed_after(run, 0), checkpoint_every_steps=2
    )
    assert_equal_trees(uninterrupted, finished)


@pytest.fixture(scope="module")
def averaging_run():
    """Training step with a moving average, for a network with batch normalisation."""
    layers = dict(filters=(4, 6), kernels=(5, 3), strides=(2, 1), dense=8)
    return Run(ema_decay=0.6, model=dict(name="tagger", **layers))


def test_moving_average_is_validated_and_kept(averaging_run, tone_clips, tmp_path):
    run, validated = averaging_run, []
    initial = jax.device_get(run.state())
    averages = [(initial.params, initial.model_state)]

    def averaging_step(*arguments):
        state, losses = run.train_step(*arguments)
        current, n = parallel.first(state), len(averages)
        decay = min(0.6, (1 + n) / (10 + n))
        averages.append(
            jax.tree.map(
                lambda average, x: decay * average + (1 - decay) * x,
                averages[-1],
                (current.params, current.model_state),
            )
        )
        return state, losses

    def evaluate(*variables):
        validated.append(parallel.first(variables))
        return {"loss": [1.0, 0.5, 0.7][len(validated) - 1]}

    best, _ = run.fit(tone_clips(), tmp_path, train_step=averaging_step, evaluate=evaluate)
    assert len(averages) == 1 + 18  # 3 epochs of 6 steps; the second is the best
    pairs = [(validated[0], averages[6]), (validated[2], averages[18])]
    for actual, expected in [*pairs, (best.eval_variables, averages[12])]:
        for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)
    assert jax.tree.leaves(best.model_state)
    # Trained systems are loaded with the average, not with the current variables.
    stored = storage.load_best_variables(tmp_path / "checkpoints", averages[0])
    assert_equal_trees(stored, best.eval_variables)
    kernels = (jax.tree.leaves(params)[0] for params in (stored[0], best.params))
    assert not np.array_equal(*kernels)


def test_run_with_a_moving_average_resumes_within_an_epoch(averaging_run, tone_clips, tmp_path):
    run, clips = averaging_run, tone_clips()
    uninterrupted, _ = run.fit(clips, tmp_path / "uninterrupted", num_epochs=2)

    cut = dict(workdir=tmp_path / "cut", checkpoint_every_steps=2, num_epochs=2)
    with pytest.raises(Killed):
        run.fit(clips, train_step=killed_after(run, 9), **cut)
    assert saved_steps(tmp_path / "cut")[-1] == 8
    resumed, _ = run.fit(clips, **cut)
    assert_equal_trees(uninterrupted, resumed)


@pytest.fixture
def sigterm_is_handled():
    handler = signal.getsignal(signal.SIGTERM)
    preemption.install()
    yield
    preemption.install()
    signal.signal(signal.SIGTERM, handler)


def saved_steps(workdir):
    return sorted(int(p.name) for p in (workdir / "checkpoints").iterdir() if p.name.isdigit())


@pytest.mark.parametrize("during", [1, 5, 6])  # 6: the last step of an epoch
def test_sigterm_saves_the_state_after_the_running_step(
    run, tone_clips, tmp_path, during, sigterm_is_handled
):
    clips, calls = tone_clips(), 0
    undisturbed, progress = run.fit(clips, tmp_path / "undisturbed")
    assert progress.history[0]["step"] == 6

    def preempted_step(*arguments):
        nonlocal calls
        calls += 1
        if calls == during:
            os.kill(os.getpid(), signal.SIGTERM)
        return run.train_step(*arguments)

    with pytest.raises(preemption.Preempted, match="ended by SIGTERM, checkpoint after step"):
        run.fit(clips, tmp_path / "cut", train_step=preempted_step)
    # A signal during a step is noticed after it or after the next one.
    assert calls in (during, during + 1) and saved_steps(tmp_path / "cut")[-1] == calls
    preemption.install()
    resumed, resumed_progress = run.fit(clips, tmp_path / "cut")
    assert_equal_trees(undisturbed, resumed)
    for row, resumed_row in zip(progress.history, resumed_progress.history, strict=True):
        assert row | {"seconds": 0} == resumed_row | {"seconds": 0}


def test_sigterm_during_validation_saves_the_epoch(run, tone_clips, tmp_path, sigterm_is_handled):
    def evaluate(params, model_state):
        os.kill(os.getpid(), signal.SIGTERM)
        return {"loss": 1.0}

    with pytest.raises(preemption.Preempted):
        run.fit(tone_clips(), tmp_path, evaluate=evaluate)
    assert saved_steps(tmp_path) == [6]
    preemption.install()
    _, progress = run.fit(tone_clips(), tmp_path, evaluate=lambda *variables: {"loss": 2.0})
    assert [row["valid_loss"] for row in progress.history] == [1.0, 2.0, 2.0]


def test_checkpoints_within_an_epoch_by_time(run, tone_clips, tmp_path):
    clips = tone_clips()
    undisturbed, _ = run.fit(clips, tmp_path / "undisturbed")

    with pytest.raises(Killed):
        run.fit(clips, tmp_path / "rare", train_step=killed_after(run, 2), checkpoint_every_s=1e9)
    assert saved_steps(tmp_path / "rare") == []
    with pytest.raises(Killed):
        run.fit(clips, tmp_path / "often", train_step=killed_after(run, 2), checkpoint_every_s=1e-9)
    assert saved_steps(tmp_path / "often") == [2]
    resumed, _ = run.fit(clips, tmp_path / "often", checkpoint_every_s=1e-9)
    assert_equal_trees(undisturbed, resumed)


def test_stops_after_more_than_patience_epochs_and_keeps_the_best(run, tone_clips, tmp_path):
    losses = iter([5.0, 3.0, 4.0, 3.0, 3.5, 9.0])
    params_by_loss = {}

    def evaluate(params, model_state):
        value = next(losses)
        params_by_loss[value, len(params_by_loss)] = parallel.first(params)
        return {"loss": value}

    best, progress = run.fit(
        tone_clips(num_clips=4), tmp_path, evaluate=evaluate, num_epochs=50, patience=2
    )
    assert [row["valid_loss"] for row in progress.history] == [5.0, 3.0, 4.0, 3.0, 3.5]
    assert progress.finished and progress.best["epoch"] == 2
    assert_equal_trees(best.params, params_by_loss[3.0, 1])
    assert saved_steps(tmp_path) == [progress.history[1]["step"], progress.history[-1]["step"]]


def test_loss_stops_training_and_accuracy_selects_the_best_epoch():
    progress = loop.Progress("top1")
    rows = [(3.0, 0.2), (2.0, 0.4), (2.5, 0.6), (2.6, 0.5), (2.7, 0.6)]
    improved = [
        progress.add(
            {"epoch": i, "valid_loss": loss, "valid_top1": top1}, {"num_epochs": 9, "patience": 2}
        )
        for i, (loss, top1) in enumerate(rows, 1)
    ]
    assert improved == [True, True, True, False, False]
    assert progress.finished and progress.best["epoch"] == 3


def test_stop_by_accuracy_stops_training_when_accuracy_stalls():
    # Accuracy improves in epochs 1 and 2, then stalls for three epochs; the loss always falls.
    top1 = [0.2, 0.5, 0.5, 0.4, 0.5, 0.9]
    rows = [
        {"epoch": i, "valid_loss": 9.0 - i, "valid_top1": value} for i, value in enumerate(top1, 1)
    ]
    for stop_by, patience, expected in (("top1", 2, [0, 0, 1, 2, 3]), ("loss", 2, [0] * 6)):
        for best_by, best in (("loss", len(expected)), ("top1", 2 if stop_by == "top1" else 6)):
            progress, stale_epochs = loop.Progress(best_by=best_by, stop_by=stop_by), []
            for row in rows:
                progress.add(row, {"num_epochs": 99, "patience": patience})
                stale_epochs.append(progress.stale_epochs)
                if progress.finished:
                    break
            assert stale_epochs == expected and progress.best["epoch"] == best


def test_validation_auc_is_that_of_all_examples(run, tone_clips):
    batches = data.Batches(tone_clips(11), window_samples=2000, batch_size=8, shuffle=False)
    evaluate = step.create_evaluate(
        run.task.loss, batches.iterate, predict=run.task.predict, score=run.task.score_split
    )
    initial = run.state()
    variables = initial.params, initial.model_state
    scores = evaluate(*parallel.replicate(variables))
    predict, labels, predictions = jax.jit(run.task.predict), [], []
    for batch in batches.iterate():
        real = batch["mask"] > 0
        labels.append(batch["labels"][real])
        predictions.append(np.asarray(predict(*variables, batch))[real])
    expected = sklearn.metrics.roc_auc_score(
        np.concatenate(labels), np.concatenate(predictions), average="macro"
    )
    assert scores["auc"] == pytest.approx(expected) and {"loss", "top1"} < {*scores}
    with pytest.raises(UserError, match="the AUC is undefined"):
        run.task.score_split(np.ones((4, 3)), np.random.default_rng(0).random((4, 3)))


def test_last_epoch_is_kept_if_the_config_says_so(run, tone_clips, tmp_path):
    losses = iter([0.5, 0.1, 0.9])

    def evaluate(params, model_state):
        return {"loss": next(losses), "top1": 0.5}

    final, progress = run.fit(tone_clips(4), tmp_path, evaluate=evaluate, keep="last")
    assert progress.best["epoch"] == 3 and int(final.step) == progress.history[-1]["step"]


def test_early_stopping_continues_after_a_resume(run, tone_clips, tmp_path):
    def make_evaluate(values):
        """Return an evaluation with these accuracies that is killed before the next one."""
        remaining = iter(values)

        def evaluate(params, model_state):
            value = next(remaining, None)
            if value is None:
                raise Killed
            return {"loss": 1.0, "top1": value}

        return evaluate

    accuracies = [0.3, 0.6, 0.6, 0.5, 0.6]
    options = dict(stop_by="top1", best_by="top1", num_epochs=50, patience=2)
    _, uninterrupted = run.fit(
        tone_clips(4), tmp_path / "a", evaluate=make_evaluate(accuracies), **options
    )
    assert len(uninterrupted.history) == 5 and uninterrupted.best["epoch"] == 2
    with pytest.raises(Killed):
        run.fit(tone_clips(4), tmp_path / "b", evaluate=make_evaluate(accuracies[:3]), **options)
    _, resumed = run.fit(
        tone_clips(4), tmp_path / "b", evaluate=make_evaluate(accuracies[3:]), **options
    )
    assert [row["valid_top1"] for row in resumed.history] == accuracies[:5]
    assert resumed.best["epoch"] == 2 and resumed.stale_epochs == 3
    assert all("train_top1" in row for row in resumed.history)


def test_non_finite_loss_is_reported_with_step_and_clips(run, tone_clips, tmp_path):
    calls = 0

    def nan_step(*arguments):
        nonlocal calls
        calls += 1
        updated, loss = run.train_step(*arguments)
        return updated, loss * (np.nan if calls == 3 else 1.0)

    with pytest.raises(UserError, match=r"nan at step 2, clips clip \d+") as caught:
        run.fit(tone_clips(), tmp_path, train_step=nan_step)
    assert "\n" not in str(caught.value)
    record = json.loads((tmp_path / "nonfinite_step_2.json").read_text())
    batches = data.Batches(tone_clips(), window_samples=2000, batch_size=8)
    assert record == {"step": 2, "ids": batches.ids(2)}


def test_several_steps_per_call_match_single_steps(run, tone_clips, tmp_path):
    """Epochs of 6 steps in calls of 4 and 2, whose windows are cut on the device."""
    clips = tone_clips()
    batches = data.Batches(clips, window_samples=2000, batch_size=8)
    assert batches.steps_per_epoch == 6
    expected, progress = run.fit(clips, tmp_path / "single", num_epochs=2)
    train_step, sizes = run.several_steps(scan=True, cut=batches.cut), []
    options = dict(
        steps_per_call=4,
        store=parallel.copy_to_each(batches.create_store()),
        num_epochs=2,
        checkpoint_every_steps=3,
    )

    def killed_step(*arguments):
        state, losses = train_step(*arguments)
        sizes.append(losses.shape[1])
        if len(sizes) == 4:
            raise Killed
        return state, losses

    with pytest.raises(Killed):
        run.fit(clips, tmp_path / "calls", train_step=killed_step, **options)
    # Step 9 was passed by the call that ended with step 10.
    assert sizes == [4, 2, 4, 2] and saved_steps(tmp_path / "calls")[-1] == 10
    resumed, rows = run.fit(clips, tmp_path / "calls", train_step=train_step, **options)
    for row, single in zip(rows.history, progress.history, strict=True):
        assert row == pytest.approx(single | {"seconds": row["seconds"]}, rel=1e-4)
    for a, b in zip(*map(jax.tree.leaves, (resumed, expected)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_non_finite_loss_within_a_call_is_reported_with_its_step(run, tone_clips, tmp_path):
    def third_is_nan(state, batch):
        count = batch["mask"].shape[1]
        return state, jnp.where(jnp.arange(count) == 2, jnp.nan, 1.0)[None]

    with pytest.raises(UserError, match=r"nan at step 2, clips clip \d+"):
        run.fit(tone_clips(), tmp_path, train_step=third_is_nan, steps_per_call=4)
    batches = data.Batches(tone_clips(), window_samples=2000, batch_size=8)
    record = json.loads((tmp_path / "nonfinite_step_2.json").read_text())
    assert record == {"step": 2, "ids": batches.ids(2)}


def test_l2_adds_the_squares_of_kernels_only():
    params = {"kernel": jnp.array([[1.0, 2.0]]), "bias": jnp.array([7.0])}
    assert float(step.l2_penalty(params)) == 5.0


DEVICES = """
import functools, jax, numpy as np, sys
sys.path[:0] = {paths!r}
jax.config.update("jax_num_cpu_devices", 8)
from irec_jax import data
from irec_jax.checkpoints import state
from irec_jax.training import optimizers, parallel, step
from flax import jax_utils
{system}
rule = {{"name": "sgd", "learning_rate": 0.05, "schedule": {{"name": ""}}, "clip_norm": 0.0}}
optimizer, _ = optimizers.create_optimizer(rule, 9)
results = []
for count in (1, 8):
    devices = jax.devices()[:count]
    one = functools.partial(step.train_step, loss=task.loss, optimizer=optimizer, l2=1e-4)
    mapped = parallel.map_step(one, donate_state=False, devices=devices)
    first = state.create(*task.init(jax.random.key(0)), optimizer, task.scalars, 0)
    current = jax_utils.replicate(first, devices)
    for n in range(4):
        batch = {{k: v.reshape(count, -1, *v.shape[1:]) for k, v in batches[n].items()}}
        current, loss = mapped(current, batch)
    if hasattr(batches, "cut"):
        # Each device cuts its rows of the batch from its copy of the audio, bit for bit.
        cut = parallel.map_step(
            lambda p, s: batches.cut(s, p), donate_state=False, devices=devices
        )
        store = jax_utils.replicate(batches.create_store(), devices)
        for n in range(3):
            parts = batches.positions(n)
            actual = cut({{k: v.reshape(count, -1) for k, v in parts.items()}}, store)
            for k, v in batches[n].items():
                np.testing.assert_array_equal(actual[k].reshape(v.shape), v)
    results.append(jax.device_get(jax.tree.map(lambda x: x[0], current)))
changed = False
start = jax.device_get(task.init(jax.random.key(0))[0])
for a, b, c in zip(*(jax.tree.leaves(r.params) for r in results), jax.tree.leaves(start)):
    np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-6)
    changed |= not np.allclose(a, c, atol=1e-4)
assert changed
for a, b in zip(*(jax.tree.leaves(r.sums) for r in results)):
    np.testing.assert_allclose(a, b, rtol=1e-4)
print("equal")
"""
#: 20 windows: every other batch contains 4 examples and 12 rows of padding.
RECOGNISER = """
from small_tasks import create_recognition_task
from conftest import make_clips
task = create_recognition_task()
batches = data.Batches(make_clips(num_clips=5), window_samples=2000, batch_size=16)
"""
SEPARATOR = """
from small_tasks import create_separation_task, make_stem_batch
task = create_separation_task(augment=dict(gain_db=6.0, polarity=True))
batches = [make_stem_batch(16) | dict(mask=np.float32(np.arange(16) < n)) for n in (16, 5, 1, 9)]
for batch in batches:
    del batch["index"]
"""


@pytest.mark.parametrize("system", [RECOGNISER, SEPARATOR])
def test_one_device_matches_eight_devices_with_uneven_masks(system):
    """Steps include dropout, augmentation and batch normalisation."""
    folder = Path(__file__).parent
    paths = [folder.parent, folder.parents[1]]
    script = DEVICES.format(paths=[str(path) for path in paths], system=system)
    completed = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
    )
    assert completed.stdout.strip().endswith("equal"), completed.stderr[-2000:]


def test_remaining_time_is_shown_only_if_early_stopping_cannot_occur():
    row = {"epoch": 1, "valid_loss": 2.0, "seconds": 60.0}
    progress = loop.Progress()
    progress.add(row, {"num_epochs": 5, "patience": 1})
    assert "validation loss has not improved for 2 epoch" in progress.describe_rest(
        {"num_epochs": 5, "patience": 1}
    )
    description = progress.describe_rest({"num_epochs": 5, "patience": 5})
    assert description == "about 4 min 0 s left"
