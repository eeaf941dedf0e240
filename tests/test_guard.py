"""The network guard of the suite itself."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from onnx import TensorProto, helper


def test_the_guard_stands_in_this_process_and_in_every_child() -> None:
    with pytest.raises(PermissionError, match="no network"):
        socket.create_connection(("192.0.2.1", 80), timeout=1)
    code = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=1)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "PermissionError" in done.stderr


def test_onnx_runtime_reports_to_nobody(tmp_path: Path) -> None:
    """Its reports leave in native code that the guard does not see; what it keeps for them in the cache tells of them."""
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node("Identity", ["x"], ["y"])],
            "same",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
    )
    model.ir_version = 8
    (tmp_path / "same.onnx").write_bytes(model.SerializeToString())
    (tmp_path / "home").mkdir()
    home = str(tmp_path / "home")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ORT_", "XDG_"))}
    code = f"import imer, onnxruntime; onnxruntime.InferenceSession({str(tmp_path / 'same.onnx')!r})"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**environment, "HOME": home, "TMPDIR": home},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [path for path in Path(home).rglob("*") if path.is_file()] == []
