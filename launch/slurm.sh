#!/usr/bin/env bash
# One process per GPU on any number of Slurm nodes:
#
#   sbatch --nodes=2 --ntasks-per-node=8 --gpus-per-task=1 launch/slurm.sh --config=configs/han.py:dataset=irmas
#
# The workdir and data.dir must be on a file system shared by all nodes. A requeued job resumes.
#SBATCH --job-name=irec
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-task=1
#SBATCH --cpus-per-task=8
#SBATCH --requeue
#SBATCH --output=irec-%j.log
set -euo pipefail
# JAX reads the coordinator and the ranks from Slurm's environment variables.
export IREC_COORDINATOR=auto
srun --kill-on-bad-exit=1 "${PYTHON:-python}" -m irec_jax.main "$@"
