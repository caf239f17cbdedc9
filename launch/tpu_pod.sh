#!/usr/bin/env bash
# Run on every host of a TPU pod slice with this project installed (`pip install -e .[tpu]`):
#
#   launch/tpu_pod.sh NAME ZONE --config=configs/han.py:dataset=irmas --workdir=DIR
#
# DIR and data.dir must be on a disk shared by all hosts. The same command resumes the run.
set -euo pipefail
if [[ $# -lt 3 ]]; then
    echo "usage: launch/tpu_pod.sh NAME ZONE --config=FILE [arguments of irec_jax.main]" >&2
    exit 2
fi
name=$1 zone=$2
shift 2
gcloud compute tpus tpu-vm ssh "$name" --zone="$zone" --worker=all \
    --command="cd irec-jax && IREC_COORDINATOR=auto python -m irec_jax.main $(printf '%q ' "$@")"
