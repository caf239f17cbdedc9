"""From a trained model to decisions about clips and to separated signals of any length."""
