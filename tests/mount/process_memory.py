"""What is in a process's memory, as a core dump or swap would hold it: read from
/proc/PID/mem as root."""
import pathlib
import re


def mappings(pid):
    """(start, end, name, flags) of each mapping."""
    found = []
    for line in pathlib.Path(f'/proc/{pid}/smaps').read_text().splitlines():
        head = re.match(r'([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ \S+\s*(.*)', line)
        if head:
            place = [int(head.group(1), 16), int(head.group(2), 16), head.group(3)]
        elif line.startswith('VmFlags:'):
            found.append((*place, set(line.split()[1:])))
    return found


def scan(pid, needles):
    """Where the needles are in the process's memory: needle -> [(name, flags)]."""
    found = {needle: [] for needle in needles}
    with open(f'/proc/{pid}/mem', 'rb', buffering=0) as memory:
        for start, end, name, flags in mappings(pid):
            if 'rd' not in flags or name in ('[vvar]', '[vsyscall]', '[vvar_vclock]'):
                continue
            memory.seek(start)
            data = b''
            while len(data) < end - start:
                try:
                    part = memory.read(end - start - len(data))
                except OSError:
                    break
                if not part:
                    break
                data += part
            for needle in needles:
                if needle in data:
                    found[needle].append((name, flags))
    return found


def kept_from_swap_and_dumps(flags):
    return {'lo', 'dd'} <= flags
