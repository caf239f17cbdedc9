"""Spectrogram U-Net that removes drums and bass from music.

D. Ligtenberg, "The effect of deep learning-based source separation on predominant instrument
classification in polyphonic music", Utrecht University, 2022.

Reported on the 50 test tracks of MUSDB18, full length, vocals + other (amplitude SDR, mean and
standard deviation over tracks), after 375 epochs (50 hours on a GPU):

  --config=configs/ligtenberg_unet.py:dataset=musdb18,paper                raw 9.33 (4.29) dB
  ...  the same postprocessed, everything below -60 dB removed             post 7.29 (3.25) dB

Measured on the 14 official validation tracks of MUSDB18's 7-second edition, with 12 epochs of 105
steps (about 0.9 s each on two CPU cores) on 72 of the others, seed 0: 10.60 (3.13) dB raw, the same
postprocessed, while the mixtures have 2.13 (4.14) dB. The command:

  --config=configs/ligtenberg_unet.py:dataset=musdb18 --config.data.path=MUSDB18_7
      --config.data.split=validation --config.data.validation_fraction=0.1

`output=attenuation`, the default, predicts by how many decibels each bin of the mixture is
attenuated, with the amplitude SDR as the loss: an error of 10 dB in a bin at -80 dB is inaudible,
and a quiet example has the same weight as a loud one. `output=direct` is Ligtenberg's network: its
last layer predicts the spectrogram, with the mean absolute error of decibels as the loss. `paper`
also trains as Ligtenberg does: kernels with an initial standard deviation of 1; stems of the same
position in the same song, stretched, pitch-shifted, reversed and inverted; 375 epochs.

Arguments:

- dataset: gm_musdb (default) or musdb18
- output: attenuation (default), direct (default with paper) or mask
- paper: Ligtenberg's training
- debug: a small run on little data
"""

from ml_collections import config_dict

from configs import common

#: The negative amplitude SDR of each example.
AMPLITUDE_SDR = dict(name="log_mean_squared_error", domain="amplitudes", l2=0.0)
#: Mean absolute error of decibels, the loss of Ligtenberg (2022).
DECIBEL_ERROR = dict(name="mean_absolute_error", domain="decibels", l2=1e-4)
#: Loss and optimizer section for each output of the network. A cosine decay from twice Ligtenberg's
#: learning rate makes fast progress in few steps; he trains for 375 epochs of about 900 steps.
RECIPES = {
    "attenuation": (AMPLITUDE_SDR, dict(learning_rate=6e-4, schedule="cosine_decay_schedule")),
    "direct": (DECIBEL_ERROR, dict(learning_rate=3e-4)),
    "mask": (AMPLITUDE_SDR, dict(learning_rate=6e-4, schedule="cosine_decay_schedule")),
}


def get_config(text: str = "") -> config_dict.ConfigDict:
    args = common.arguments(text, dataset="gm_musdb", output=str, paper=False)
    config = paper(args) if args.paper else default(args)
    return common.finish(config, args)


def default(args) -> config_dict.ConfigDict:
    """Return the recipe for few tracks and a CPU: re-mixed stems, random channels, 12 epochs."""
    config = create(args.dataset, args.output or "attenuation", num_epochs=12)
    config.data.remix = 0.5
    config.data.channels = "random"
    return config


def paper(args) -> config_dict.ConfigDict:
    """Return the recipe of Ligtenberg (2022): augmented stems of one position, 375 epochs."""
    config = create(args.dataset, args.output or "direct", num_epochs=375)
    config.augment.update(stretch=(0.5, 1.0), pitch_semitones=4.0, reversal=True, polarity=True)
    config.model.kernel_init = "truncated_normal"
    return config


def create(dataset: str, output: str, *, num_epochs: int) -> config_dict.ConfigDict:
    """Return the config that both recipes share."""
    loss, optimizer = common.choose("output", output, RECIPES)
    config = config_dict.ConfigDict()
    config.task = "separation"
    config.data = common.stems(
        dataset, target="vocals+other", window_s=3.0, remix=0.0, channels="mean"
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
    config.augment = common.stem_augment()
    config.model = dict(name="unet", output=output, dtype=config_dict.placeholder(str))
    config.loss = loss
    config.optimizer = common.adam(**optimizer)
    config.training = common.training(
        batch_size=8,
        num_epochs=num_epochs,
        patience=num_epochs,
        best_by="amplitude_sdr" if loss is AMPLITUDE_SDR else "loss",
        min_steps_per_epoch=100,
    )
    config.evaluation = common.separation_evaluation()
    return config
