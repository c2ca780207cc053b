"""Command line: one subcommand a suite."""

import argparse
import os
from fnmatch import fnmatchcase
from pathlib import Path

from . import (
    completion,
    coverage,
    cur,
    everyday,
    gp,
    landmarks,
    linalg,
    neural,
    nystroem,
    pca,
    regression,
    spectral,
)
from .machine import describe_machine
from .report import Report

# A suite is a module with TASKS: names to functions of (report, quick).
SUITES = {
    "pca": pca,
    "nystroem": nystroem,
    "spectral": spectral,
    "gp": gp,
    "cur": cur,
    "regression": regression,
    "landmarks": landmarks,
    "completion": completion,
    "neural": neural,
    "linalg": linalg,
    "coverage": coverage,
    "everyday": everyday,
}


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="suite", required=True, metavar="SUITE")
    for name, suite in SUITES.items():
        command = commands.add_parser(
            name, help=suite.__doc__, epilog=f"Tasks: {', '.join(suite.TASKS)}."
        )
        command.add_argument("--quick", action="store_true", help="tiny sizes, once")
        command.add_argument(
            "--only", default="*", metavar="PATTERN", help="tasks whose name contains it"
        )
        command.add_argument(
            "--data",
            metavar="FOLDER",
            help="real data as .npz files, for tasks that take them",
        )
        command.add_argument("--json", type=Path, metavar="FILE", help="write the tables")
    options = parser.parse_args()

    if options.data:
        os.environ["BENCHMARK_DATA"] = options.data
    tasks = SUITES[options.suite].TASKS
    chosen = [name for name in tasks if fnmatchcase(name, f"*{options.only}*")]
    if not chosen:
        parser.error(f"--only={options.only} matches none of {', '.join(tasks)}.")
    report = Report(options.suite, describe_machine(), options.quick)
    for name in chosen:
        report.begin(name)
        tasks[name](report, options.quick)
        if options.json:
            # After each task: a long run that is cut off keeps what it has.
            report.write(options.json)


if __name__ == "__main__":
    main()
