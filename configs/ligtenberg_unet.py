"""Spectrogram U-Net that takes drums and bass out of music.

D. Ligtenberg, "The effect of deep learning-based source separation on predominant instrument
classification in polyphonic music", Utrecht University, 2022.

Reported on the 50 test tracks of MUSDB18, full length, vocals + other (amplitude SDR, mean and
standard deviation over tracks), after 375 epochs:

  --config=configs/ligtenberg_unet.py:dataset=musdb18,output=direct        raw 9.33 (4.29) dB
  ...  the same postprocessed, everything below -60 dB removed             post 7.29 (3.25) dB

`output=direct` is the source's network: its last layer says the spectrogram itself, trained on the
mean absolute error of decibels. The default, `attenuation`, says by how many decibels each bin of
the mixture is to be lowered, trained on the mean absolute error of amplitudes: amplitudes are what
the score is about, and a bin at -80 dB that is wrong by 10 dB is not heard.

README.md has what was measured, on which data, and what it cost.

Arguments: dataset=gm_musdb|musdb18, output=attenuation|direct|mask, debug.
"""

from ml_collections import config_dict

from configs import common

#: Output -> what its loss compares.
DOMAINS = {"attenuation": "amplitudes", "direct": "decibels", "mask": "amplitudes"}


def get_config(text: str = "") -> config_dict.ConfigDict:
    args = common.arguments(text, dataset="gm_musdb", output="attenuation")
    config = config_dict.ConfigDict()
    config.task = "separation"
    config.data = common.stems(args.dataset, target="vocals+other", window_s=3.0, remix=0.5)
    config.frontend = dict(
        name="spectrogram_db",
        frame_length=4096,
        hop_length=1050,
        num_bins=2048,
        num_frames=128,
        floor_db=-100.0,
        scale_db=150.0,
    )
    config.augment = common.stem_augment()
    config.model = dict(name="unet", output=args.output, dtype="float32")
    domain = common.choose("output", args.output, DOMAINS)
    config.loss = dict(name="mean_absolute_error", domain=domain, l2=0.0)
    config.optimizer = dict(name="adam", learning_rate=3e-4, schedule=dict(name=""), clip_norm=0.0)
    config.training = common.training(
        batch_size=8, num_epochs=20, patience=20, min_steps_per_epoch=100
    )
    config.evaluation = common.separation_evaluation()
    return common.finish(config, args)
