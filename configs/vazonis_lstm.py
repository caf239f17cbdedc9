"""Raw-waveform LSTM: one sample per step.

M. Vazonis, L. de Jeu, F. Mozes, M. F. Toutonghi, Y.-R. Woo, "Recognizing predominant musical
instruments in music using deep learning techniques", 2022: the LSTM.

Reported on IRMAS, micro P / R / F1 at threshold 0.5:

  --config=configs/vazonis_lstm.py:paper,dataset=irmas                       .25 / .75 / .38

which is a network that says nearly the same of every clip; the report's collapse check says so.

`paper` is the source's input: clips of up to 20 s at 44.1 kHz, padded with silence, split at random
before and after, to 884,000 samples, and its batches of 2. The default is made for a CPU: 3 s at
22.05 kHz (66,150 steps) without padding, batches of 16. The back-propagation goes
through all steps in either case; only the state before each short segment of them is kept, and the
rest is computed again: 16 sequences of 884,000 steps train in half a gigabyte, where the source had
room for 2.

Arguments: dataset=gm_irmas|irmas|folder, paper, hidden=22, loss=categorical_cross_entropy|
binary_cross_entropy, debug.
"""

from ml_collections import config_dict

from configs import common

#: The source's length: over 20 s at 44.1 kHz.
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
    # A window of the source's length holds a whole clip and silence around it.
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
    # The rate is not stated but for 'usually around 0.01'. Where gradients come through so many
    # steps, some are large: without a bound one of them can end a run.
    config.optimizer = dict(name="adam", learning_rate=1e-2, schedule=dict(name=""), clip_norm=1.0)
    # 15 epochs and no rule to stop earlier.
    config.training = common.training(
        batch_size=2 if args.paper else 16, num_epochs=15, patience=15, best_by="loss"
    )
    config.evaluation = common.evaluation(
        batch_size=16, hop_s=window_s / 2, aggregation="s1", threshold=0.5
    )
    return common.finish(config, args)
