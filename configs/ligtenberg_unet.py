"""Spectrogram U-Net that takes drums and bass out of music.

D. Ligtenberg, "The effect of deep learning-based source separation on predominant instrument
classification in polyphonic music", Utrecht University, 2022.

Reported on the 50 test tracks of MUSDB18, full length, vocals + other (amplitude SDR, mean and
standard deviation over tracks), after 375 epochs:

  --config=configs/ligtenberg_unet.py:dataset=musdb18,paper                raw 9.33 (4.29) dB
  ...  the same postprocessed, everything below -60 dB removed             post 7.29 (3.25) dB

`output=direct` is the source's network: its last layer says the spectrogram itself, trained on the
mean absolute error of decibels; `paper` trains it as the source does, too: kernels that start with
a standard deviation of 1, stretched, shifted, reversed and inverted stems of one place in one song,
375 epochs. The default, `attenuation`, says by how many decibels each bin of
the mixture is to be lowered, trained on the amplitude SDR itself: a bin at -80 dB that is wrong by
10 dB is not heard, and a quiet example counts as much as a loud one.

README.md has what was measured, on which data, and what it cost.

Arguments: dataset=gm_musdb|musdb18, output=attenuation|direct|mask, paper, debug.
"""

from ml_collections import config_dict

from configs import common

#: Minus the amplitude SDR of each example.
SCORE = dict(name="log_mean_squared_error", domain="amplitudes", l2=0.0)
#: What the outputs are trained with. A cosine from twice the source's learning rate comes far in a
#: few steps; the source takes 375 epochs of about 900.
RECIPES = {
    "attenuation": dict(loss=SCORE, learning_rate=6e-4, schedule="cosine_decay_schedule"),
    "direct": dict(
        loss=dict(name="mean_absolute_error", domain="decibels", l2=1e-4),
        learning_rate=3e-4,
        schedule="",
    ),
    "mask": dict(loss=SCORE, learning_rate=6e-4, schedule="cosine_decay_schedule"),
}


def get_config(text: str = "") -> config_dict.ConfigDict:
    args = common.arguments(text, dataset="gm_musdb", output="", paper=False)
    args.output = args.output or ("direct" if args.paper else "attenuation")
    recipe = common.choose("output", args.output, RECIPES)
    config = config_dict.ConfigDict()
    config.task = "separation"
    # Re-mixed stems and channels at random make more of few tracks.
    config.data = common.stems(
        args.dataset,
        target="vocals+other",
        window_s=3.0,
        remix=0.0 if args.paper else 0.5,
        channels="mean" if args.paper else "random",
    )
    config.frontend = dict(
        name="spectrogram_db",
        frame_length=4096,
        hop_length=1050,
        num_bins=2048,
        num_frames=128,
        floor_db=-100.0,
        scale_db=150.0,
    )
    changed = dict(stretch=(0.5, 1.0), pitch_semitones=4.0, reversal=True, polarity=True)
    config.augment = common.stem_augment(**(changed if args.paper else {}))
    config.model = dict(name="unet", output=args.output, dtype="float32")
    if args.paper:
        config.model.kernel_init = "truncated_normal"
    config.loss = recipe["loss"]
    config.optimizer = dict(
        name="adam",
        learning_rate=recipe["learning_rate"],
        schedule=dict(name=recipe["schedule"]),
        clip_norm=0.0,
    )
    config.training = common.training(
        batch_size=8,
        num_epochs=375 if args.paper else 12,
        patience=375 if args.paper else 12,
        best_by="amplitude_sdr" if recipe["loss"] is SCORE else "loss",
        min_steps_per_epoch=100,
    )
    config.evaluation = common.separation_evaluation()
    return common.finish(config, args)
