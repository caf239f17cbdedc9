"""From a model's window probabilities to decisions about whole clips; numpy on the host."""
