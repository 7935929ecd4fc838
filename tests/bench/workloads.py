#!/usr/bin/env python3
"""Measures the same workloads on several folders in turn, round after round, so
that a machine's drift meets all alike; prints medians, and ratios to the last.

  workloads.py --work DIR [--rounds N] [--size MIB] LABEL=FOLDER ..."""
import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

# name, unit, whether more is better
WORKLOADS = {
    'sequential write': ('MB/s', True), 'sequential read, cold': ('MB/s', True),
    'sequential read, cached': ('MB/s', True), 'random read 4k': ('IOPS', True),
    'random read 4k x4': ('IOPS', True), 'random write 4k': ('IOPS', True),
    'two sequential readers': ('MB/s', True), 'unpack small files': ('s', False),
    'stat all': ('s', False), 'grep all, cold': ('s', False), 'remove all': ('s', False)}


def shell(command):
    subprocess.run(command, shell=True, check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)


def seconds(command):
    start = time.monotonic()
    shell(command)
    return time.monotonic() - start


def drop_caches():
    os.sync()
    pathlib.Path('/proc/sys/vm/drop_caches').write_text('3\n')


def fio(path, size, **options):
    drop_caches()
    command = ['fio', '--name=job', '--output-format=json', '--ioengine=psync',
               '--group_reporting=1', f'--filename={path}']
    options = {'size': f'{size}m', **options}
    out = subprocess.run(command + [f'--{k}={v}' for k, v in options.items()], check=True,
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    return json.loads(out[out.index('{'):])['jobs'][0]


def measure(folder, tree, data, size):
    base = pathlib.Path(folder) / 'bench'
    shutil.rmtree(base, ignore_errors=True)
    base.mkdir()
    big, result = base / 'big', {}
    result['sequential write'] = size / seconds(f'dd if={data} of={big} bs=1M conv=fsync')
    drop_caches()
    result['sequential read, cold'] = size / seconds(f'dd if={big} of=/dev/null bs=1M')
    result['sequential read, cached'] = size / seconds(f'dd if={big} of=/dev/null bs=1M')
    for name, jobs in (('random read 4k', 1), ('random read 4k x4', 4)):
        result[name] = fio(big, size, rw='randread', bs='4k', io_size=f'{48 // jobs}m',
                           numjobs=jobs, randseed=7)['read']['iops']
    job = fio(big, size, rw='randwrite', bs='4k', io_size='32m', end_fsync=1, randseed=8)
    result['random write 4k'] = 32 * 256 / (job['job_runtime'] / 1000)
    job = fio(big, size // 2, rw='read', bs='1m', numjobs=2, offset_increment=f'{size // 2}m')
    result['two sequential readers'] = job['read']['bw_bytes'] / 1e6
    result['unpack small files'] = seconds(f'tar -xf {tree} -C {base} && sync -f {base}')
    drop_caches()
    result['stat all'] = seconds(f'find {base} -type f -printf "%s\\n"')
    drop_caches()
    result['grep all, cold'] = seconds(f'grep -rc zzzqqq {base} --exclude=big || true')
    result['remove all'] = seconds(f'rm -rf {base}')
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--work', type=pathlib.Path, required=True)
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--size', type=int, default=256)
    parser.add_argument('targets', nargs='+', metavar='LABEL=FOLDER')
    args = parser.parse_args()
    tree, data = args.work / 'tree.tar', args.work / 'data'
    shell(f'tar -cf {tree} -C /usr include; true')
    shell(f'dd if=/dev/urandom of={data} bs=1M count={args.size}')
    targets = [target.split('=', 1) for target in args.targets]
    results = {label: [] for label, _ in targets}
    for number in range(args.rounds):
        for label, folder in targets:
            results[label].append(measure(folder, tree, data, args.size))
            print(f'round {number + 1} of {args.rounds}: {label}', file=sys.stderr, flush=True)
    last = targets[-1][0]
    print('| workload | ' + ' | '.join(label for label, _ in targets) +
          ' | ' + ' | '.join(f'{label} : {last}' for label, _ in targets[:-1]) + ' |')
    print('|---' * (2 * len(targets)) + '|')
    for name, (unit, more) in WORKLOADS.items():
        median = {label: statistics.median(r[name] for r in results[label]) for label in results}
        ratio = [median[label] / median[last] if more else median[last] / median[label]
                 for label, _ in targets[:-1]]
        print(f'| {name}, {unit} | ' + ' | '.join(f'{v:,.2f}' if v < 10 else f'{v:,.0f}'
                                                   for v in median.values()) +
              ' | ' + ' | '.join(f'{r:.2f}' for r in ratio) + ' |')


if __name__ == '__main__':
    main()
