"""Medians as a table, a CSV file and an SVG chart."""
import csv
import datetime
import html
import os
import platform
import statistics
import subprocess


class Results:
    """Every value measured: add as they come, ask for medians afterwards."""

    def __init__(self, workloads, filesystems):
        self.workloads, self.filesystems = workloads, filesystems
        self.circumstances = []  # lines that say when, on what and how
        self.values = {}         # {(workload's name, filesystem): {round: value}}

    def add(self, filesystem, number, values):
        for name, value in values.items():
            self.values.setdefault((name, filesystem), {})[number] = value

    def median(self, workload, filesystem):
        values = self.values.get((workload.name, filesystem))
        return statistics.median(values.values()) if values else None

    def times_as_good(self, workload, one, other):
        """How many times as good `one` is as `other`; None if either was not measured."""
        a, b = self.median(workload, one), self.median(workload, other)
        if not a or not b:
            return None
        return a / b if workload.more_is_better else b / a

    def verdicts(self, workload):
        """(wanted, measured, met) for each target; measured and met None if unknown."""
        for other, wanted in workload.targets.items():
            if other == 'value':
                got, text = self.median(workload, 'keyfold'), f'{wanted:g}'
            else:
                got = self.times_as_good(workload, 'keyfold', other)
                text = f'{wanted:g} x {other}'
            yield text, got, None if got is None else got >= wanted


def number(value):
    if value is None:
        return '-'
    return f'{value:,.2f}' if abs(value) < 100 else f'{value:,.0f}'


def row(cells):
    return '| ' + ' | '.join(cells) + ' |'


def table(results):
    lines = [row(['workload', *results.filesystems]), '|---' * (1 + len(results.filesystems)) + '|']
    for workload in results.workloads:
        lines.append(row([f'{workload.name}, {workload.unit}'] + [
            number(results.median(workload, name)) for name in results.filesystems]))
    lines += ['', row(['workload', 'Keyfold is to reach', 'reaches', 'met']), '|---' * 4 + '|']
    for workload in results.workloads:
        for text, got, met in results.verdicts(workload):
            lines.append(row([workload.name, text, number(got),
                              {True: 'yes', False: 'no', None: '-'}[met]]))
    return '\n'.join(lines)


def write_csv(results, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, 'w', newline='', encoding='utf-8') as file:
        file.writelines(f'# {line}\n' for line in results.circumstances)
        writer = csv.writer(file, lineterminator='\n')
        writer.writerow(['workload', 'unit', 'filesystem', 'round', 'value'])
        for (name, filesystem), values in results.values.items():
            unit = next(w.unit for w in results.workloads if w.name == name)
            for number_of_round, value in sorted(values.items()):
                writer.writerow([name, unit, filesystem, number_of_round, f'{value:.6g}'])


def circumstances(args, inputs, disk):
    """Lines that say when, on what and how."""
    return [machine(),
            f'each on {disk}; file of {args.size} MiB, {inputs.files} small files, '
            f'{args.users} users, medians of {args.rounds} rounds']


def machine():
    """One line: when and on what."""
    with open('/proc/cpuinfo', encoding='ascii') as file:
        model = next((line.split(':', 1)[1].strip() for line in file
                      if line.startswith('model name')), platform.machine())
    memory = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30
    fuse = subprocess.run(['fusermount3', '--version'], stdout=subprocess.PIPE, check=True,
                          text=True).stdout.split()[-1]
    return (f'{datetime.date.today()}, {model}, {os.cpu_count()} cores, {memory:.0f} GiB, '
            f'Linux {platform.release()}, libfuse {fuse}')


# The chart: for each workload a bar for each filesystem, as a share of plain ext4.

LEFT, WIDTH, BAR, GAP, TOP = 190, 860, 11, 16, 92
SCALE = (WIDTH - LEFT - 110) / 1.25  # pixels for 1.0: bars end at 1.25 of ext4
STYLE = '''
  .page { fill: #ffffff } text { fill: #1f2328; font: 12px sans-serif }
  .small { font-size: 10px } .title { font-size: 16px; font-weight: bold }
  .grid { stroke: #d0d7de } .mark { stroke: #1f2328; stroke-width: 2 }
  .ext4 { fill: #8c959f } .passthrough { fill: #b6a6e0 } .passthrough_ll { fill: #d8cff0 }
  .keyfold { fill: #0969da } .gocryptfs { fill: #bf8700 } .securefs { fill: #2da44e }
  .encfs { fill: #cf5a3c } .cryfs { fill: #bf4b8a }
  @media (prefers-color-scheme: dark) {
    .page { fill: #0d1117 } text { fill: #e6edf3 } .grid { stroke: #30363d }
    .mark { stroke: #e6edf3 } .keyfold { fill: #4493f8 } .passthrough_ll { fill: #5b4e86 }
    .passthrough { fill: #8a75c9 } }
'''


def legend(results):
    x = LEFT
    for name in results.filesystems:
        yield f'<rect class="{name}" x="{x}" y="54" width="11" height="11"/>'
        yield f'<text x="{x + 16}" y="64">{name}</text>'
        x += 30 + 7 * len(name)


def axis(height):
    for tick in range(6):
        x = LEFT + SCALE * tick / 4
        yield f'<line class="grid" x1="{x:.0f}" y1="{TOP - 4}" x2="{x:.0f}" y2="{height - 72}"/>'
        yield (f'<text class="small" x="{x:.0f}" y="{height - 58}" text-anchor="middle">'
               f'{tick * 25} %</text>')
    yield (f'<text x="{LEFT + SCALE * 0.625:.0f}" y="{height - 41}" text-anchor="middle">'
           'speed as a share of plain ext4 (longer is faster)</text>')


def bars(results, workload, y):
    for name in results.filesystems:
        value = results.median(workload, name)
        share = results.times_as_good(workload, name, 'ext4')
        width = min(share or 0, 1.25) * SCALE
        yield f'<rect class="{name}" x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR - 2}"/>'
        over = ' \N{RIGHTWARDS ARROW}' if (share or 0) > 1.25 else ''
        text = 'not measured' if value is None else f'{number(value)} {workload.unit}{over}'
        yield f'<text class="small" x="{LEFT + width + 4:.1f}" y="{y + 8}">{text}</text>'
        y += BAR


def chart(results):
    # A workload without a time or rate of its own has no share of ext4's.
    drawn = [w for w in results.workloads if w.unit != 'x']
    group = BAR * len(results.filesystems)
    height = TOP + (group + GAP) * len(drawn) + 72
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
             f'width="{WIDTH}" height="{height}" role="img">',
             '<title>Speed of Keyfold and other filesystems as a share of ext4</title>',
             f'<style>{STYLE}</style>',
             f'<rect class="page" width="{WIDTH}" height="{height}"/>',
             '<text class="title" x="16" y="30">How fast: Keyfold beside others, each on a new ext4'
             '</text>', *legend(results), *axis(height)]
    y = TOP
    for workload in drawn:
        parts.append(f'<text x="{LEFT - 10}" y="{y + group / 2 + 4:.0f}" text-anchor="end">'
                     f'{html.escape(workload.name)}</text>')
        parts += bars(results, workload, y)
        y += group + GAP
    for above, line in enumerate(reversed(results.circumstances)):
        parts.append(f'<text class="small" x="16" y="{height - 8 - 14 * above}">'
                     f'{html.escape(line)}</text>')
    return '\n'.join(parts + ['</svg>', ''])
