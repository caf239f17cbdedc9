#!/usr/bin/env bash
# Run one process per GPU on any number of Slurm nodes:
#
#   sbatch --nodes=2 --ntasks-per-node=8 --gpus-per-node=8 launch/slurm.sh --config=configs/han.py:dataset=irmas
#
# Use --gpus-per-node=0 to run on CPUs. The workdir and data.dir must be on a file system shared by
# all nodes. A job that is preempted or runs out of time saves a checkpoint, is requeued, and
# resumes.
#
# Every task sees all GPUs of its node, and task i of the node uses GPU i. With --gpus-per-task,
# each task would see only one GPU, always numbered 0.
#SBATCH --job-name=irec
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=irec-%j.log
#SBATCH --signal=TERM@120
set -uo pipefail
# JAX reads the coordinator and the ranks from Slurm's environment variables.
export IREC_COORDINATOR=auto
# srun does not inherit --cpus-per-task since Slurm 22.05.
export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1}

# After SIGTERM all tasks exit with 75, some of them a moment later than others.
status=0
srun --kill-on-bad-exit=0 --wait=60 "${PYTHON:-python}" -m irec_jax.main "$@" || status=$?
if ((status == 75)); then  # ended by SIGTERM
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
