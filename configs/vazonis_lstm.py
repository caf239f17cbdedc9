"""Raw-waveform LSTM: one sample per step.

M. Vazonis, L. de Jeu, F. Mozes, M. F. Toutonghi, Y.-R. Woo, "Recognizing predominant musical
instruments in music using deep learning techniques", 2022 (the LSTM).

Reported micro P / R / F1 on IRMAS at threshold 0.5:

  --config=configs/vazonis_lstm.py:paper,dataset=irmas                       .25 / .75 / .38

This network makes nearly the same prediction for every clip; the report warns about this collapse.

Measured on rendered audio (`gm_irmas` 1.0.0 `small`, seed 0) with a learning rate of 0.01 and the
epoch that has the lowest validation loss out of 8: micro F1 .348 [.329, .367] and the same
collapse. `irec study vazonis` compares learning rates of 1e-4 (the default), 1e-3 and 1e-2.

With `paper`, the inputs are those of Vazonis et al.: clips of up to 20 s at 44.1 kHz, padded to
884,000 samples with silence that is divided at random between the two ends, in batches of 2. The
default suits a CPU: 3 s at 22.05 kHz (66,150 steps) without padding, in batches of 16. In both
cases, gradients are propagated through all steps. Only the state before each short segment of steps
is stored, and the other states are recomputed, so 16 sequences of 884,000 steps need half a
gigabyte; Vazonis et al. had memory for only 2.

Arguments:

- dataset: gm_irmas (default), irmas or folder
- paper: use the inputs and the batch size of Vazonis et al.
- hidden: number of LSTM units (default 22)
- loss: categorical_cross_entropy (default) or binary_cross_entropy
- debug: a short run on tiny data
"""

from ml_collections import config_dict

from configs import common

#: Input length in the paper: slightly more than 20 s at 44.1 kHz.
PADDED_SAMPLES = 884_000


def get_config(text: str = "") -> config_dict.ConfigDict:
    args = common.arguments(text, paper=False, hidden=22, loss="categorical_cross_entropy")
    config = config_dict.ConfigDict()
    config.task = "recognition"
    window_s = PADDED_SAMPLES / 44_100 if args.paper else 3.0
    config.data = common.data(
        args.dataset,
        format="stereo44k" if args.paper else "mono22k",
        window_s=window_s,
        validation_fraction=0.15,
    )
    # A window of the paper's length contains a complete clip and silence around it.
    config.frontend = dict(name="raw", length_samples=0, padding="silence")
    config.augment = common.augment()
    config.model = dict(
        name="recurrent",
        cell="lstm",
        hidden=(args.hidden,),
        dense=(2048, 32, 1024),
        activation="lrelu_0.01",
    )
    config.loss = dict(name=args.loss, l2=0.0)
    # The paper states no learning rate for this network; 1e-4 is the FFT-dense network's rate.
    # Gradients through so many steps can be large, and without clipping, a single update can ruin a
    # run.
    config.optimizer = common.adam(1e-4, clip_norm=1.0)
    # Training takes 15 epochs without early stopping, and the last epoch is kept.
    config.training = common.training(
        batch_size=2 if args.paper else 16,
        num_epochs=15,
        patience=1000,
        best_by="loss",
        keep="last",
    )
    config.evaluation = common.evaluation(
        batch_size=16, hop_s=window_s / 2, aggregation="s1", threshold=0.5
    )
    return common.finish(config, args)
