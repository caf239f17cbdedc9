#!/usr/bin/env bash
# Train on a TPU pod slice of Google Cloud, with this project in ~/irec-jax on every host, installed
# with `pip install -e .[tpu]`:
#
#   launch/tpu_pod.sh request NAME ZONE v5litepod-16 v2-alpha-tpuv5-lite   # a queued resource
#   launch/tpu_pod.sh start NAME ZONE --config=configs/han.py:dataset=irmas \
#       --workdir=gs://BUCKET/han --config.data.dir=gs://BUCKET/data
#   launch/tpu_pod.sh log NAME ZONE
#   launch/tpu_pod.sh stop NAME ZONE
#
# Buckets require gcsfs; a disk shared by all hosts works as well. Training runs in the background
# on each host, so that it continues when the ssh connection ends, and writes to ~/irec.log there.
# `log` shows the last lines of these files; `stop` sends SIGTERM, and the training run then saves a
# checkpoint. The same `start` command resumes the run, even on a new slice.
set -euo pipefail

usage() {
    sed -n 's/^#   launch/usage: launch/p; s/^#       --/           --/p' "$0" >&2
    exit 2
}
if [[ $# -lt 3 ]]; then usage; fi
action=$1 name=$2 zone=$3
shift 3

on_all_hosts() {
    gcloud compute tpus tpu-vm ssh "$name" --zone="$zone" --worker=all --command="$1"
}

case $action in
    request)
        if [[ $# -ne 2 ]]; then usage; fi
        gcloud compute tpus queued-resources create "$name" --node-id="$name" --zone="$zone" \
            --accelerator-type="$1" --runtime-version="$2"
        gcloud compute tpus queued-resources describe "$name" --zone="$zone" --format="value(state)"
        ;;
    start)
        if [[ $# -lt 1 ]]; then usage; fi
        # setsid and nohup detach the training from the connection. `exec` replaces the shell, so
        # that ~/irec.pid contains the process id of Python.
        command="exec python -m irec_jax.main $(printf '%q ' "$@")"
        on_all_hosts "
            if kill -0 \$(cat ~/irec.pid 2>/dev/null) 2>/dev/null; then
                echo 'a training run is active on this host; stop it first' >&2; exit 1
            fi
            cd ~/irec-jax
            IREC_COORDINATOR=auto nohup setsid bash -c $(printf '%q' "echo \$\$ > ~/irec.pid; $command") \
                >> ~/irec.log 2>&1 < /dev/null &"
        ;;
    log) on_all_hosts "tail -n 20 ~/irec.log" ;;
    stop) on_all_hosts "kill -TERM \$(cat ~/irec.pid)" ;;
    *) usage ;;
esac
