"""`python -m irec_jax.cli`, which is the same as `irec`."""

from irec_jax.cli import main

if __name__ == "__main__":
    main()
