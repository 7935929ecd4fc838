#!/usr/bin/env python3
"""Measures the same workloads on several filesystems in turn, round after round, so
that a machine's drift meets all alike. Prints medians and what was to be reached;
started by tests/bench/run, which builds and installs what is needed."""
import argparse
import pathlib
import shutil
import signal
import sys
import tempfile

import filesystems
import report
import workloads


def arguments():
    here = pathlib.Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(prog='tests/bench/run', description=__doc__)
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--size', type=int, default=256, help='MiB of the large file')
    parser.add_argument('--files', type=int, default=9000, help='small files to unpack')
    parser.add_argument('--users', type=int, default=8)
    parser.add_argument('--work', type=pathlib.Path, default='/var/tmp',
                        help='a folder on the disk to be measured')
    parser.add_argument('--only', action='append', metavar='WORKLOAD',
                        help='only workloads whose name has this in it; may be repeated')
    available = [name for name, kind in filesystems.KINDS.items() if kind.available()]
    parser.add_argument('--filesystems', default=','.join(available), metavar='A,B,...',
                        help='of %(default)s')
    parser.add_argument('--output', type=pathlib.Path, default=here,
                        help='folder for results.csv and results.svg')
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
    return args


def measure(args, work, users, results):
    (work / 'input').mkdir()
    inputs = workloads.Inputs(work / 'input', args.size, args.files)
    mounted = {}
    try:
        for name in args.names:
            mounted[name] = filesystems.KINDS[name](work / name)
        for number in range(args.rounds):
            for name, filesystem in mounted.items():
                print(f'round {number + 1} of {args.rounds}: {name}', file=sys.stderr, flush=True)
                results.add(name, workloads.run_round(filesystem, inputs, users, args.wanted))
    finally:
        for filesystem in mounted.values():
            filesystem.unmount()
    return inputs


def main():
    args = arguments()
    # Being ended, too, takes away what was made.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    work = pathlib.Path(tempfile.mkdtemp(prefix='keyfold-bench.', dir=args.work))
    work.chmod(0o755)
    results = report.Results(args.wanted, args.names)
    try:
        with filesystems.Users(args.users) as users:
            inputs = measure(args, work, users, results)
    finally:
        shutil.rmtree(work)
    caption = (f'{report.machine()}; file of {args.size} MiB, {inputs.files} small files, '
               f'medians of {args.rounds} rounds')
    print(f'{report.table(results)}\n\n{caption}')
    report.write_csv(results, args.output / 'results.csv')
    if 'ext4' in args.names:
        (args.output / 'results.svg').write_text(report.chart(results, caption), encoding='utf-8')


if __name__ == '__main__':
    main()
