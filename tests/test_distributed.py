"""Communication between two processes on this machine."""

import os
import socket
import subprocess
import sys

PROGRAM = """
import jax
from irec_jax import distributed
from irec_jax.errors import UserError

distributed.initialize()
index = jax.process_index()
print(distributed.on_all(lambda: {"process": index, "values": [float("-inf")] * (3 * index)}))

def fail():
    if index:
        raise UserError("song.wav: truncated")
    return "done"

try:
    distributed.on_all(fail)
except UserError as error:
    print(error)
"""


def test_results_and_errors_of_every_process_are_known_to_all():
    with socket.socket() as sock:
        sock.bind(("localhost", 0))
        port = sock.getsockname()[1]
    shared = {"IREC_COORDINATOR": f"localhost:{port}", "IREC_NUM_PROCESSES": "2"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            env=os.environ | shared | {"IREC_PROCESS_ID": str(index), "JAX_PLATFORMS": "cpu"},
            stdout=subprocess.PIPE,
            text=True,
        )
        for index in range(2)
    ]
    outputs = [process.communicate(timeout=300)[0] for process in processes]
    results = [{"process": 0, "values": []}, {"process": 1, "values": [float("-inf")] * 3}]
    for output in outputs:  # begins with a line of the library that connects the processes
        assert output.splitlines()[-2:] == [str(results), "song.wav: truncated"]
