#!/usr/bin/env bash
# Start N processes of one job on this machine; all further arguments are passed to irec_jax.main:
#
#   launch/local.sh 2 --config=configs/han.py:debug --workdir=runs/two
#
# Process i uses GPU i, or the i-th GPU of CUDA_VISIBLE_DEVICES. Having fewer GPUs than processes is
# an error; without GPUs, the processes run on the CPU. The output of process 0 is shown; the other
# processes write to temporary files. If a process fails, all are stopped, and the last lines of
# these files are shown. SIGTERM is forwarded to all processes, which save a checkpoint and exit
# with status 75, as does this script.
set -euo pipefail

if [[ $# -lt 2 || ! "$1" =~ ^[1-9][0-9]*$ ]]; then
    echo "usage: launch/local.sh N --config=FILE [arguments of irec_jax.main]" >&2
    exit 2
fi
count=$1
shift

devices=()
if [[ -n "${CUDA_VISIBLE_DEVICES+set}" ]]; then
    IFS=, read -ra devices <<<"$CUDA_VISIBLE_DEVICES"
elif command -v nvidia-smi >/dev/null 2>&1; then
    mapfile -t devices < <(nvidia-smi --list-gpus 2>/dev/null | awk '{print NR - 1}')
fi
gpus=${#devices[@]}
if ((gpus > 0 && gpus < count)) && [[ "${JAX_PLATFORMS:-}" != cpu ]]; then
    echo "N=$count: more processes than GPUs ($gpus); start at most $gpus, or set JAX_PLATFORMS=cpu" >&2
    exit 1
fi

python=${PYTHON:-python}
port=$("$python" -c 'import socket; s = socket.socket(); s.bind(("localhost", 0)); print(s.getsockname()[1])')
export IREC_COORDINATOR=localhost:$port IREC_NUM_PROCESSES=$count
logs=$(mktemp -d)
declare -a processes=()
stop() {
    kill "${processes[@]}" 2>/dev/null || true
    for _ in {1..50}; do
        kill -0 "${processes[@]}" 2>/dev/null || break
        sleep 0.1
    done
    kill -KILL "${processes[@]}" 2>/dev/null || true
    rm -rf "$logs"
}
trap stop EXIT
trap 'exit 130' INT
terminated=
trap 'terminated=yes; kill -TERM "${processes[@]}" 2>/dev/null || true' TERM

for ((i = 0; i < count; i++)); do
    (
        export IREC_PROCESS_ID=$i
        if ((gpus >= count)); then export CUDA_VISIBLE_DEVICES=${devices[i]}; fi
        if ((i > 0)); then exec >"$logs/process_$i.log" 2>&1; fi
        exec "$python" -m irec_jax.main "$@"
    ) &
    processes+=($!)
done

running=$count
while ((running > 0)); do
    status=0
    wait -n || status=$?
    if [[ $terminated ]]; then
        status=0
        for process in "${processes[@]}"; do
            code=0
            wait "$process" || code=$?
            if ((code > status)); then status=$code; fi
        done
        exit "$status"
    fi
    if ((status != 0)); then
        for log in "$logs"/*.log; do
            [[ -s "$log" ]] && { echo "--- last lines of $(basename "$log" .log)"; tail -n 5 "$log"; } >&2
        done
        exit "$status"
    fi
    running=$((running - 1))
done
