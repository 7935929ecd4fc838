#!/usr/bin/env python3
"""Measures the same workloads on several filesystems in turn, round after round, so
that a machine's drift meets all alike, each on a new ext4 in a file. Prints medians and
what was to be reached; started by tests/bench/run, which builds and installs what is
needed. Without options all there are are measured, and the figures that are kept beside
it are replaced, within some two hours; with any that change what is measured, results.csv
and results.svg go to the build folder unless --output names another."""
import argparse
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile

import filesystems
import report
import workloads
from disk import Disk

HERE = pathlib.Path(__file__).resolve().parent
# What makes a run another than that whose figures are kept.
CHANGING = ('rounds', 'size', 'files', 'users', 'only', 'filesystems')


def arguments():
    parser = argparse.ArgumentParser(prog='tests/bench/run', description=__doc__)
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--size', type=int, default=256, help='MiB of the large file')
    parser.add_argument('--files', type=int, default=9000, help='small files to unpack')
    parser.add_argument('--users', type=int, default=8)
    parser.add_argument('--work', type=pathlib.Path, default='/var/tmp',
                        help='a folder on the disk to be measured')
    parser.add_argument('--image', type=float, default=4, metavar='GIB',
                        help='size of the file with the ext4 (%(default)s)')
    parser.add_argument('--only', action='append', metavar='WORKLOAD',
                        help='only workloads whose name has this in it; may be repeated')
    available = [name for name, kind in filesystems.KINDS.items() if kind.available()]
    parser.add_argument('--filesystems', default=','.join(available), metavar='A,B,...',
                        help='of %(default)s')
    parser.add_argument('--output', type=pathlib.Path, help='folder for results.csv and results.svg')
    args = parser.parse_args()
    args.names = args.filesystems.split(',')
    for name in args.names:
        if name not in available:
            parser.error(f'no filesystem {name}: choose of ' + ', '.join(available))
    args.wanted = [w for w in workloads.WORKLOADS
                   if not args.only or any(part in w.name for part in args.only)]
    if not args.wanted:
        parser.error('no such workload: choose of '
                     + '; '.join(w.name for w in workloads.WORKLOADS))
    if args.output is None:
        usual = all(getattr(args, name) == parser.get_default(name) for name in CHANGING)
        args.output = HERE if usual else filesystems.BUILD / 'tests/bench'
    return args


def turns(names, rounds):
    """(round, filesystem) in the order of measuring, in which each is first in its turn."""
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            yield number + 1, name


def measure_one(name, work, disk, inputs, users, wanted):
    """The values, and how much failed."""
    disk.fresh()
    try:
        with filesystems.KINDS[name](work, disk) as filesystem:
            return workloads.run_round(filesystem, inputs, users, wanted)
    except (subprocess.SubprocessError, RuntimeError, OSError) as failure:
        print(f'{name}: {failure}', file=sys.stderr)
        return {}, len(wanted)
    finally:
        disk.close()


def measure(args, work, inputs, results):
    """How much failed."""
    failed = 0
    with filesystems.Users(args.users) as users, Disk(work, args.image) as disk:
        results.circumstances = report.circumstances(args, inputs, disk)
        print('\n'.join(results.circumstances), file=sys.stderr, flush=True)
        for number, name in turns(args.names, args.rounds):
            print(f'round {number} of {args.rounds}: {name}', file=sys.stderr, flush=True)
            values, missing = measure_one(name, work / f'{name}-{number}', disk, inputs, users,
                                          args.wanted)
            results.add(name, number, values)
            failed += missing
    return failed


def main():
    args = arguments()
    # Being ended, too, takes away what was made.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    work = pathlib.Path(tempfile.mkdtemp(prefix='keyfold-bench.', dir=args.work))
    work.chmod(0o755)
    memory = pathlib.Path(tempfile.mkdtemp(prefix='keyfold-bench.', dir='/dev/shm'))
    results = report.Results(args.wanted, args.names)
    try:
        inputs = workloads.Inputs(memory, args.size, args.files)
        if any(w.measure is workloads.Bench.develop for w in args.wanted):
            inputs.warm_programs()
        failed = measure(args, work, inputs, results)
    finally:
        shutil.rmtree(work)
        shutil.rmtree(memory)
    print('\n'.join([report.table(results), '', *results.circumstances]))
    report.write_csv(results, args.output / 'results.csv')
    if 'ext4' in args.names:
        (args.output / 'results.svg').write_text(report.chart(results), encoding='utf-8')
    print(f'Written: {args.output}/results.csv', file=sys.stderr)
    if failed:
        sys.exit(f'{failed} measurements failed, as told above')


if __name__ == '__main__':
    main()
