"""Programs that sources run; what they do is tested with `Context.run`."""

from __future__ import annotations

import subprocess
import sys


def test_the_warm_path_is_light() -> None:
    program = (
        "import sys; import felloe.command; print(sorted({'anyio', 'subprocess', 'selectors'} & set(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
