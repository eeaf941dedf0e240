"""The adapter for torchvision: whatever is installed, faces and sentences work."""

from __future__ import annotations

import subprocess
import sys

BROKEN = "raise RuntimeError('operator torchvision::nms does not exist')"
USE = """
import sys
{before}
from imer.extractors.facenet_import import facenet_pytorch, hide_torchvision, torchvision_state
print(torchvision_state()[0])
assert facenet_pytorch().MTCNN is not None
assert not [name for name, module in sys.modules.items() if name.startswith("torchvision") and module is not None]
hide_torchvision()
import transformers
assert not transformers.utils.is_torchvision_available()
"""


def run(before: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", USE.format(before=before)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_torchvision_that_cannot_be_imported_is_worked_around(tmp_path: object) -> None:
    package = f"{tmp_path}/torchvision"
    before = (
        f"import os; os.makedirs({package!r}); open({package!r} + '/__init__.py', 'w').write({BROKEN!r}); "
        f"sys.path.insert(0, {str(tmp_path)!r})"
    )
    assert run(before) == "broken"


def test_no_torchvision_at_all_is_fine() -> None:
    assert run("sys.modules['torchvision'] = None; import importlib.util") in ("absent", "broken", "works")
