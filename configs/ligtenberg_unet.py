"""Spectrogram U-Net that removes drums and bass from music.

D. Ligtenberg, "The effect of deep learning-based source separation on predominant instrument
classification in polyphonic music", Utrecht University, 2022.

Reported amplitude SDR of vocals + other on the 50 full-length test tracks of MUSDB18, after 375
epochs (50 hours on a GPU), as mean (standard deviation) over tracks:

  --config=configs/ligtenberg_unet.py:dataset=musdb18,paper                raw 9.33 (4.29) dB
  ...  the same, postprocessed: everything below -60 dB removed            post 7.29 (3.25) dB
  --config=configs/ligtenberg_unet.py:dataset=musdb18,ablation=base        figure 4.1, 50 epochs

Measured on the 14 official validation tracks of MUSDB18's 7-second edition, after training on
72 other tracks for 12 epochs of 105 steps (about 1.6 s per step on two CPU cores), seed 0:
10.97 (3.12) dB raw, compared with 2.13 (4.14) dB for the mixtures. Command:

  --config=configs/ligtenberg_unet.py:dataset=musdb18 --config.data.path=MUSDB18_7
      --config.data.split=validation --config.data.validation_fraction=0.1

10.60 (3.13) dB without the moving average of the parameters and the augmentation, and
11.03 (3.14) dB with both if training starts from a separator of rendered music; docs/results.md has
the commands.

`output=attenuation`, the default, predicts the attenuation of each mixture bin in decibels.
Its loss is the negative amplitude SDR, which hardly penalises inaudible errors such as 10 dB in a
bin at -80 dB, and gives quiet and loud examples the same weight. `output=direct` is Ligtenberg's
network: its last layer predicts the spectrogram, and the loss is the mean absolute error in
decibels. `paper` also trains as Ligtenberg did: kernels have an initial standard deviation of 1;
stems are taken from the same position in the same song, and are stretched, shifted by whole
semitones, reversed and inverted together; training takes 375 epochs. The network is evaluated in
adjacent segments of 3 s with Griffin-Lim, and postprocessing sets bins more than 60 dB below the
maximum of a segment to 0 dB, which is our interpretation of the thesis (see `post_reference` and
`post_fill` in configs/common.py). `ablation` selects one of the runs in figure 4.1, or one of the
two experiments in sections 3.2 and 3.2.1; all of these runs use the same data.

Arguments:

- dataset: gm_musdb (default) or musdb18
- output: attenuation (default), direct (default with paper and ablation) or mask
- paper: Ligtenberg's training and evaluation
- ablation: base, augmented, dropout, l2, truncated_normal (figure 4.1), dilation or
  mean_squared_error (sections 3.2 and 3.2.1): variants of `paper` that train for 50 epochs
- debug: a short run on tiny data
"""

from ml_collections import config_dict

from configs import common

#: The negative amplitude SDR of each example.
AMPLITUDE_SDR = dict(name="log_mean_squared_error", domain="amplitudes", l2=0.0)
#: Mean absolute error in decibels, the loss used by Ligtenberg (2022).
DECIBEL_ERROR = dict(name="mean_absolute_error", domain="decibels", l2=1e-4)
#: Loss and optimizer sections for each kind of network output. With few steps, a cosine decay from
#: twice Ligtenberg's learning rate makes faster progress; the thesis trains for 375 epochs of about
#: 900 steps.
RECIPES = {
    "attenuation": (AMPLITUDE_SDR, dict(learning_rate=6e-4, schedule="cosine_decay_schedule")),
    "direct": (DECIBEL_ERROR, dict(learning_rate=3e-4)),
    "mask": (AMPLITUDE_SDR, dict(learning_rate=6e-4, schedule="cosine_decay_schedule")),
}


def get_config(text: str = "") -> config_dict.ConfigDict:
    args = common.arguments(text, dataset="gm_musdb", output=str, paper=False, ablation=str)
    if args.ablation:
        config = common.choose("ablation", args.ablation, ABLATIONS)(args)
    else:
        config = paper(args) if args.paper else default(args)
    return common.finish(config, args)


def default(args) -> config_dict.ConfigDict:
    """Return the recipe for few tracks and CPUs: remixed stems with random pitch and gain."""
    config = create(args.dataset, args.output or "attenuation", num_epochs=12)
    config.data.remix = 0.75
    config.data.channels = "random"
    config.augment.update(pitch_semitones=2.0, gain_db=3.0)
    config.training.ema_decay = 0.995
    return config


def paper(args) -> config_dict.ConfigDict:
    """Return Ligtenberg's recipe (2022): augmented stems without remixing, 375 epochs."""
    config = truncated_normal(args, num_epochs=375)
    config.evaluation.update(
        windows="side_by_side",
        hop_s=config.data.window_s,
        phase="griffin-lim",
        post_reference="segment",
        post_fill="zero",
    )
    return config


def base(args, *, num_epochs: int = 50) -> config_dict.ConfigDict:
    """Return Ligtenberg's recipe (2022) without any regularisation (figure 4.1 a)."""
    config = create(args.dataset, args.output or "direct", num_epochs=num_epochs)
    config.loss.l2 = 0.0
    return config


def augmented(args, *, num_epochs: int = 50) -> config_dict.ConfigDict:
    """Return `base` with augmentation (figure 4.1 a, b and c)."""
    config = base(args, num_epochs=num_epochs)
    config.augment.update(
        stretch=(0.5, 1.0),
        pitch_semitones=4.0,
        whole_semitones=True,
        reversal=True,
        mixture_polarity=True,
    )
    return config


def dropout(args) -> config_dict.ConfigDict:
    """Return `augmented` with 50 % dropout in the first three layers (figure 4.1 b)."""
    config = augmented(args)
    config.model.dropout = 0.5
    return config


def l2(args, *, num_epochs: int = 50) -> config_dict.ConfigDict:
    """Return `augmented` with L2 regularisation (figure 4.1 c and d)."""
    config = augmented(args, num_epochs=num_epochs)
    config.loss.l2 = 1e-4
    return config


def truncated_normal(args, *, num_epochs: int = 50) -> config_dict.ConfigDict:
    """Return `l2` with Ligtenberg's kernel initialisation, the final model (figure 4.1 d)."""
    config = l2(args, num_epochs=num_epochs)
    config.model.kernel_init = "truncated_normal"
    return config


def dilation(args) -> config_dict.ConfigDict:
    """Return the final model with dilated convolutions (section 3.2)."""
    config = truncated_normal(args)
    config.model.dilations = (2,) * 6
    return config


def mean_squared_error(args) -> config_dict.ConfigDict:
    """Return the final model with the mean squared error as the loss (section 3.2.1)."""
    config = truncated_normal(args)
    config.loss.name = "mean_squared_error"
    return config


#: `ablation` argument -> recipe.
ABLATIONS = {
    function.__name__: function
    for function in (
        base,
        augmented,
        dropout,
        l2,
        truncated_normal,
        dilation,
        mean_squared_error,
    )
}


def create(dataset: str, output: str, *, num_epochs: int) -> config_dict.ConfigDict:
    """Return the config shared by all recipes."""
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
