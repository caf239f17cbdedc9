"""docs/tutorial.ipynb runs, and was committed with its outputs."""

import base64
import contextlib
import io
import json
import re
from pathlib import Path

import pytest

import data_builders

NOTEBOOK = Path(__file__).parents[2] / "docs/tutorial.ipynb"
CELLS = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]
#: Words in cells whose output depends on the training, which CPUs round differently.
TRAINED = ("report", "result")
MAX_IMAGE_BYTES = 150_000


def source(cell):
    return "".join(cell["source"])


def printed(cell):
    """Return the committed standard output of a cell."""
    streams = (output for output in cell["outputs"] if output["output_type"] == "stream")
    return "".join("".join(stream["text"]) for stream in streams if stream["name"] == "stdout")


def images(cell):
    """Return the committed pictures of a cell, as PNG."""
    shown = (output.get("data", {}) for output in cell["outputs"])
    return [base64.b64decode(data["image/png"]) for data in shown if "image/png" in data]


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """Run all code cells in an empty folder; return the folder, the names and the outputs."""
    data_builders.prepare("gm_irmas", size="tiny", format="mono22k")  # which prints where it is
    folder, names, outputs = tmp_path_factory.mktemp("tutorial"), {}, []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for number, cell in enumerate(CELLS):
            with contextlib.redirect_stdout(io.StringIO()) as output:
                exec(compile(source(cell), f"cell {number}", "exec"), names)
            outputs.append(output.getvalue())
    return folder, names, outputs


def test_cells_run_and_train_a_recogniser(executed):
    folder, names, _ = executed
    assert names["report"]["classes"] == ["pia", "tru", "vio"]
    assert (folder / "runs/tutorial/report.md").exists() and (folder / "clip.wav").exists()
    assert set(names["result"].scores) == {"pia", "tru", "vio"}
    assert names["result"].duration_s == pytest.approx(20.0, abs=0.1)


def test_committed_outputs_are_those_of_the_cells(executed):
    compared = 0
    for cell, output in zip(CELLS, executed[2], strict=True):
        if not any(word in source(cell) for word in TRAINED):
            assert printed(cell) == output, source(cell)
            compared += bool(output)
        assert bool(printed(cell)) == bool(output)
    assert compared >= 3


def test_committed_pictures_are_small():
    for cell in CELLS:
        shows_figure = source(cell).splitlines()[-1].startswith("show(figure")
        assert len(images(cell)) == shows_figure, source(cell)
        assert all(len(image) < MAX_IMAGE_BYTES for image in images(cell))


def test_committed_outputs_hold_no_errors_and_no_folders_of_the_author():
    for cell in CELLS:
        assert all(output["output_type"] != "error" for output in cell["outputs"])
        assert not re.search(r"/(home|root|tmp|Users)/|Traceback", json.dumps(cell["outputs"]))
