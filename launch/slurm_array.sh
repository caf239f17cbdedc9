#!/usr/bin/env bash
# Distribute the runs of a study, or the repeats of a training run, over a job array, then create
# the report:
#
#   irec build gm_irmas --size=small --format=stereo44k    # once, before the jobs
#   sbatch --array=1-10 launch/slurm_array.sh study goel --workdir=runs/goel
#   irec study goel --workdir=runs/goel --collect
#
#   sbatch --array=1-3 launch/slurm_array.sh train configs/han.py --config.training.repeats=3
#   irec train configs/han.py --config.training.repeats=3 --collect
#
# Tasks are numbered from 1; in an array that begins with 0, task 0 counts as the last one. To submit only
# part of an array, set the total number of tasks:
#
#   IREC_NUM_TASKS=10 sbatch --array=2,7 launch/slurm_array.sh study goel --workdir=runs/goel
#
# Each job has one GPU and is requeued like the jobs of launch/slurm.sh.
#SBATCH --job-name=irec-array
#SBATCH --ntasks=1
#SBATCH --gpus-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=irec-array-%A_%a.log
#SBATCH --signal=TERM@120
set -uo pipefail
export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1}

index=$SLURM_ARRAY_TASK_ID count=${IREC_NUM_TASKS:-$SLURM_ARRAY_TASK_COUNT}
if [[ -z ${IREC_NUM_TASKS:-} ]] && ((count == 1 || SLURM_ARRAY_TASK_MIN > 1 ||
    SLURM_ARRAY_TASK_MAX - SLURM_ARRAY_TASK_MIN + 1 != count)); then
    echo "error: --array: covers only part of the tasks; set IREC_NUM_TASKS to the total number" >&2
    exit 1
fi

status=0
srun --kill-on-bad-exit=0 --wait=60 "${PYTHON:-python}" -m irec_jax.cli "$@" \
    --task="$((index ? index : count))/$count" || status=$?
if ((status == 75)); then  # ended by SIGTERM
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
