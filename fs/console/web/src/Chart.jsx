// Uses and refusals over time, as bars and as a table.
import { count, ticks } from './chart.js';
import { Table } from './parts.jsx';
import { date } from './texts.js';

const WIDTH = 720;
const HEIGHT = 120;

function Bar({ i, of, value, most, kind, above = 0 }) {
  const tall = (value / most) * HEIGHT;
  return <rect class={kind} x={(i * WIDTH) / of + 2} width={WIDTH / of - 4}
    y={HEIGHT - tall - (above / most) * HEIGHT} height={tall} />;
}

export function Chart({ of, minutes }) {
  const bars = count(of, minutes);
  const most = Math.max(1, ...bars.map((bar) => bar.done + bar.refused));
  const sum = (kind) => bars.reduce((total, bar) => total + bar[kind], 0);
  const told = `${sum('done')} done and ${sum('refused')} refused or failed, at most ${most} in one of ${bars.length} spans`;
  return (
    <>
      <p class="legend"><span class="done">done</span> <span class="refused">refused or failed</span>, up to {most} in a bar; times in UTC</p>
      <svg class="chart" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={`Events over time: ${told}`} preserveAspectRatio="none">
        {bars.map((bar, i) => (
          <g key={bar.from}>
            <Bar i={i} of={bars.length} value={bar.done} most={most} kind="done" />
            <Bar i={i} of={bars.length} value={bar.refused} most={most} kind="refused" above={bar.done} />
          </g>
        ))}
      </svg>
      <p class="axis">{ticks(minutes).map((one) => <span>{one}</span>)}</p>
      <details>
        <summary>As a table</summary>
        <Table name="Events over time" head={['From', 'Done', 'Refused or failed']}
          rows={bars.map((bar) => ({ key: bar.from, cells: [date(bar.from / 1000), bar.done, bar.refused] }))} />
      </details>
    </>
  );
}
