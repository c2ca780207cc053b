"""Fail where a public symbol of the installed package has no type that is known."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path


def main():
    """Run pyright on the package as it is installed; return the status to exit with."""
    # Of scikit-learn, pyright is to read the source: classes derive from its own.
    (Path(importlib.util.find_spec("sklearn").origin).parent / "py.typed").touch()
    command = [sys.executable, "-m", "pyright", "--verifytypes", "sklearn_rnla"]
    # It asks the first python of the path where packages are.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    report = subprocess.run(
        [*command, "--ignoreexternal", "--outputjson"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": path},
    ).stdout
    symbols = json.loads(report)["typeCompleteness"]["symbols"]
    exported = [symbol for symbol in symbols if symbol["isExported"]]
    if importlib.util.find_spec("torch") is None:
        exported = [
            s for s in exported if not s["name"].startswith("sklearn_rnla.neural.torch")
        ]
    unknown = [symbol for symbol in exported if not symbol["isTypeKnown"]]
    for symbol in unknown:
        print(
            symbol["name"],
            *(found["message"] for found in symbol["diagnostics"]),
            sep="\n    ",
        )
    print(
        f"{len(exported) - len(unknown)} of {len(exported)} public symbols have known types"
    )
    return int(bool(unknown) or not exported)


if __name__ == "__main__":
    sys.exit(main())
