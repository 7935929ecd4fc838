// Uses and refusals over time, as bars and as a table.
import { Table } from './parts.jsx';
import { date } from './texts.js';

const BARS = 24;
const WIDTH = 720;
const HEIGHT = 120;

// count gives how many records were done and refused in each of BARS equal spans.
export function count(records, minutes, now = Date.now()) {
  const length = (minutes * 60_000) / BARS;
  const begin = now - minutes * 60_000;
  const bars = Array.from({ length: BARS }, (_, i) => ({ from: begin + i * length, done: 0, refused: 0 }));
  for (const record of records) {
    const at = Math.floor((Date.parse(record.eventTime) - begin) / length);
    ++bars[Math.min(BARS - 1, Math.max(0, at))][record.errorCode ? 'refused' : 'done'];
  }
  return bars;
}

function Bar({ i, value, most, kind, above = 0 }) {
  const tall = (value / most) * HEIGHT;
  return <rect class={kind} x={(i * WIDTH) / BARS + 2} width={WIDTH / BARS - 4}
    y={HEIGHT - tall - (above / most) * HEIGHT} height={tall} />;
}

export function Chart({ of, minutes }) {
  const bars = count(of, minutes);
  const most = Math.max(1, ...bars.map((bar) => bar.done + bar.refused));
  const sum = (kind) => bars.reduce((total, bar) => total + bar[kind], 0);
  const told = `${sum('done')} done and ${sum('refused')} refused or failed, at most ${most} in one of ${BARS} spans`;
  return (
    <>
      <p class="legend"><span class="done">done</span> <span class="refused">refused or failed</span>, up to {most} in a bar</p>
      <svg class="chart" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={`Events over time: ${told}`} preserveAspectRatio="none">
        {bars.map((bar, i) => (
          <g key={bar.from}>
            <Bar i={i} value={bar.done} most={most} kind="done" />
            <Bar i={i} value={bar.refused} most={most} kind="refused" above={bar.done} />
          </g>
        ))}
      </svg>
      <details>
        <summary>As a table</summary>
        <Table name="Events over time" head={['From', 'Done', 'Refused or failed']}
          rows={bars.map((bar) => ({ key: bar.from, cells: [date(bar.from / 1000), bar.done, bar.refused] }))} />
      </details>
    </>
  );
}
