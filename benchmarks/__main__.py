"""Command line: one subcommand a suite."""

import argparse

from . import pca
from .harness import describe_machine

SUITES = {"pca": pca.TASKS}


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("suite", choices=SUITES)
    parser.add_argument("--quick", action="store_true", help="tiny sizes, one round")
    parser.add_argument("--only", default="", metavar="TEXT", help="tasks named so")
    options = parser.parse_args()
    print(describe_machine())
    for name, task in SUITES[options.suite].items():
        if options.only in name:
            print(f"\n## {name}\n", flush=True)
            task(options.quick)


if __name__ == "__main__":
    main()
