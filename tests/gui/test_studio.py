"""The app's one way to draw: whose scheduler it is, whose turn it is, and what stops."""

import logging
import threading
import time

import pytest
import torch

from text2digit.gui.studio import OWN, Done, Settings, Step, Studio
from text2digit.schedulers import DDIMScheduler


def draw(studio, settings, counted=None):
    """A drawing of a three; what its forwards looked at is added to `counted`, as far as it came."""
    looked, me = [], []
    hook = lambda _, shown: looked.append(len(shown[0])) if threading.get_ident() in me else None  # noqa: E731
    handle = studio.pipeline(settings.model).denoiser.register_forward_pre_hook(hook)
    pipeline = studio.prepare(settings)
    own_call = type(pipeline).__call__

    def call(*arguments, **named):
        me.append(threading.get_ident())
        return own_call(pipeline, *arguments, **named)

    try:
        yield from studio.draw(settings, [3], pipeline=call)
    finally:
        handle.remove()
        if counted is not None:
            counted.append(sum(looked))


def test_defaults_are_the_model_s_own(studio, folder):
    """Would catch steps or guidance written into the page: retrained weights come with other defaults."""
    assert studio.settings(folder) == Settings(folder, 4, 1.5)
    assert studio.own_scheduler(folder) == "ddim" and studio.class_names(folder) == list("0123456789")


def test_a_visitor_s_scheduler_is_nobody_else_s(studio, folder):
    """Would catch a choice that stays behind in the shared pipeline, for the next visitor to draw with."""
    shared = studio.pipeline(folder)
    before = shared.scheduler
    mine = studio.prepare(Settings(folder, 4, 1.5, "dpm++", "leading"))
    assert mine.scheduler.config.timestep_spacing == "leading" and mine.denoiser is shared.denoiser
    assert shared.scheduler is before and shared.scheduler.config.timestep_spacing == "trailing"
    assert mine.config.default_num_inference_steps == 4 and mine.config.id2label == shared.config.id2label


@pytest.mark.parametrize("name", [OWN, "ddim", "dpm++", "unipc", "euler", "heun"])
def test_every_spacing_that_is_offered_draws(studio, folder, name):
    """Would catch a choice that can only fail, such as our log_snr for a scheduler of diffusers."""
    for spacing in [OWN, *studio.spacings(folder, name)]:
        *_, done = draw(studio, Settings(folder, 3, 1.5, name, spacing))
        assert isinstance(done, Done) and done.images[0].isfinite().all()


def test_only_schedulers_that_fit_are_offered(studio, folder):
    """Would catch a flow's scheduler offered for a model of another path."""
    assert "flow-euler" not in studio.schedulers(folder) and {"ddim", "ddpm", "dpm++", "unipc"} < set(
        studio.schedulers(folder)
    )


def test_schedulers_of_a_flow_are_made_in_silence(pipeline, tmp_path):
    """Would catch a console flooded with keys that diffusers' class does not know, before the page's address."""
    flow = {"beta_schedule": "flow", "prediction_type": "flow_prediction", "timestep_spacing": "trailing"}
    pipeline.register_modules(scheduler=DDIMScheduler(**flow))
    pipeline.save_pretrained(tmp_path / "flow")
    told = []
    listener = logging.Handler()
    listener.emit = told.append
    logging.getLogger("diffusers").addHandler(listener)
    try:
        studio = Studio(str(tmp_path / "flow"), others=())
        known = studio.schedulers(studio.model)
        assert "flow-euler" in known
        for name in (OWN, *known):
            studio.prepare(Settings(studio.model, 2, 1.0, name))
            studio.spacings(studio.model, name)
    finally:
        logging.getLogger("diffusers").removeHandler(listener)
    assert [record.getMessage() for record in told] == []


def test_streaming_is_the_pipeline_s_own_call(studio, folder):
    """Would catch a second sampler, or a frame that is not of this call."""
    settings = Settings(folder, 4, 1.5, seed=5)
    latents = []
    *steps, done = studio.draw(settings, [3], lambda pipe, i, t, tensors: latents.append(tensors["latents"]))
    plain = studio.pipeline(folder)([3], generator=5, output_type="pt").images
    assert torch.equal(torch.stack(done.images), plain) and steps[-1].index == steps[-1].total == 4
    assert torch.equal((latents[-1] / 2 + 0.5).clamp(0, 1), plain)


def test_the_last_step_is_told_to_who_is_slow(studio, folder):
    """Would catch a last picture left out, because the end was there before anyone looked."""
    news = draw(studio, Settings(folder, 4, 1.5, seed=5))
    told = [next(news)]
    while "text2digit-drawing" in [thread.name for thread in threading.enumerate()]:
        time.sleep(0.01)
    *steps, done = told + list(news)
    assert isinstance(done, Done) and steps[-1].index == 4


def test_who_leaves_ends_the_work(studio, folder):
    """Would catch a call that goes on for a visitor who closed the page, and keeps all others waiting."""
    counted = []
    news = draw(studio, Settings(folder, 500, 1.0), counted)
    assert isinstance(next(news), Step)
    news.close()
    assert 0 < counted[0] < 400
    assert not [t for t in threading.enumerate() if t.name == "text2digit-drawing"]
    *_, done = draw(studio, Settings(folder, 2, 1.0))  # and the next visitor is served
    assert isinstance(done, Done)


def test_what_goes_wrong_in_the_thread_is_told(studio, folder):
    """Would catch a page that waits for ever, because the message died with the thread."""
    with pytest.raises(ValueError, match="num_inference_steps: got 0, expected a whole number from 1 up"):
        list(draw(studio, Settings(folder, 0, 1.0)))


def test_one_forward_at_a_time(studio, folder):
    """Would catch two calls that compute at once, and hooks that see the images of another call."""
    denoiser = studio.pipeline(folder).denoiser
    busy, most, counted, images = [], [], [], {}
    denoiser.register_forward_pre_hook(lambda *_: (busy.append(1), most.append(len(busy)), None)[-1])
    denoiser.register_forward_hook(lambda *_: (busy.pop(), None)[-1])

    def visit(seed):
        *_, done = draw(studio, Settings(folder, 20 + seed, 1.5, seed=seed), counted)
        images[seed] = torch.stack(done.images)

    threads = [threading.Thread(target=visit, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * len(most) == [1] * (20 + 21 + 22 + 23) and sorted(counted) == [40, 42, 44, 46]
    for seed, image in images.items():
        alone = studio.prepare(Settings(folder, 1, 1))
        assert torch.equal(
            image,
            alone([3], num_inference_steps=20 + seed, guidance_scale=1.5, generator=seed, output_type="pt").images,
        )


@pytest.mark.parametrize("scheduler, forwards", [("ddim", 8), ("heun", 14)])
def test_forwards_are_counted_and_not_reckoned(studio, folder, scheduler, forwards):
    """Would catch a cost of steps times two, which is wrong for Heun: its steps but the last ask the model twice."""
    counted = []
    *_, done = draw(studio, Settings(folder, 4, 1.5, scheduler), counted)
    assert counted == [forwards] == [sum(done.passes)]


def test_too_much_work_is_refused(studio, folder, text_studio, text_folder, monkeypatch):
    """Would catch digits of a number that count for nothing, and limits that a slow machine does not know of."""
    with pytest.raises(ValueError, match="Images: got 101, expected 100 or fewer"):
        studio.seconds(Settings(folder, 1, 1.0), [3], 101)
    with pytest.raises(ValueError, match="Images: got 2,000, expected 100 or fewer in one go; each digit .* is one"):
        text_studio.seconds(Settings(text_folder, 1, 1.0), ["12345678901234567890"] * 100)
    with pytest.raises(ValueError, match="Images: got 500,000, expected"):
        text_studio.seconds(Settings(text_folder, 1, 1.0), ["1"] * 500_000)
    for steps in (1001, 20_000):
        with pytest.raises(ValueError, match=f"Steps: got {steps}, expected a whole number from 1 to 1,000"):
            studio.seconds(Settings(folder, steps, 1.0), [3])
    one, many = (studio.seconds(Settings(folder, 200, 1.5), [3], n) for n in (1, 100))
    assert 0 < one < many < 180 and studio.seconds(Settings(folder, 200, 1.5), [3], calls=7) == pytest.approx(7 * one)
    assert studio.seconds(Settings(folder, 200, 1.0), [3], 100) < many  # guidance looks twice
    monkeypatch.setattr(studio.line, "slowness", 1000 * 180 / many)
    with pytest.raises(ValueError, match=r"Steps: got 200 for 100 images, about .* s on this machine, expected 180 s"):
        studio.seconds(Settings(folder, 200, 1.5), [3], 100)


def test_an_unknown_model_is_refused(studio):
    """Would catch a page that loads whatever name a visitor sends."""
    with pytest.raises(ValueError, match="Model: got /etc, expected one of"):
        studio.pipeline("/etc")


def test_the_classifier_judges_digits_alone(pipeline, tmp_path):
    """Would catch a confidence in digits for a model of shoes."""
    pipeline.register_to_config(id2label={i: f"shoe {i}" for i in range(10)})
    pipeline.save_pretrained(tmp_path / "shoes")
    studio = Studio(str(tmp_path / "shoes"), others=())
    assert studio.classifier(studio.model) is None and studio.class_names(studio.model)[3] == "shoe 3"
