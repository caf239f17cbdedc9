"""FFT-dense network: dense layers on the Fourier magnitudes of the complete clip.

M. Vazonis, L. de Jeu, F. Mozes, M. F. Toutonghi, Y.-R. Woo, "Recognizing predominant musical
instruments in music using deep learning techniques", 2022 (the dense network).

Reported micro P / R / F1 on IRMAS at threshold 0.5:

  --config=configs/vazonis_fft.py:dataset=irmas                                         F1 .16
  ...  --config.training.num_epochs=150                                      .18 / .68 / .29

The second result was obtained after more than 75 epochs; the exact number is not stated. The scores
for voice are .48 / .80 / .60, and for clarinet .02 / .74 / .05.

Measured on rendered audio (`gm_irmas` 1.0.0 `small`, seed 0) with the epoch that has the lowest
validation loss out of 4: micro F1 .374 [.338, .408]; predicting the majority class gives .265.

Clips of up to 20 s at 44.1 kHz are padded with silence to 884,000 samples. The input is half of the
Fourier magnitudes (442,000; the rest is redundant by symmetry); the network has 40,188,107
parameters. Vazonis et al. divide the silence at random between the two ends of the clip. This
changes phases but not magnitudes, so the padding is not random here.

Arguments:

- dataset: gm_irmas (default), irmas or folder
- loss: categorical_cross_entropy (default) or binary_cross_entropy
- debug: a short run on tiny data (2 s, small layers)
"""

from ml_collections import config_dict

from configs import common

#: Input length in the paper: slightly more than 20 s at 44.1 kHz.
PADDED_SAMPLES = 884_000
UNITS = (64, 100_000, 32, 50_000)


def get_config(text: str = "") -> config_dict.ConfigDict:
    args = common.arguments(text, loss="categorical_cross_entropy")
    length_samples, units = (88_200, (16, 32)) if args.debug else (PADDED_SAMPLES, UNITS)
    window_s = length_samples / 44_100
    config = config_dict.ConfigDict()
    config.task = "recognition"
    config.data = common.data(
        args.dataset, format="stereo44k", window_s=window_s, validation_fraction=0.15
    )
    config.frontend = dict(name="fft_magnitude", length_samples=length_samples, norm="ortho")
    config.augment = common.augment()
    config.model = dict(name="dense", units=units, activation="lrelu_0.01")
    config.loss = dict(name=args.loss, l2=0.0)
    config.optimizer = common.adam(1e-4)
    # The paper trains for 75 epochs 'and more', without early stopping. The last epoch is kept,
    # because in the paper the score rises while the validation loss diverges.
    config.training = common.training(
        batch_size=4, num_epochs=75, patience=1000, best_by="loss", keep="last"
    )
    config.evaluation = common.evaluation(
        batch_size=16, hop_s=window_s / 2, aggregation="s1", threshold=0.5
    )
    return common.finish(config, args)
