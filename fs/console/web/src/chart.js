// What a chart of records over time shows.
const BARS = 24;
const TICKS = 5;
const DAY = 1440; // minutes

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

// ticks are equally spaced times below the bars, in UTC: short, for a phone's width.
export function ticks(minutes, now = Date.now()) {
  return Array.from({ length: TICKS }, (_, i) => {
    const at = new Date(now - minutes * 60_000 * (1 - i / (TICKS - 1))).toISOString();
    return minutes > DAY ? at.slice(5, 10) : at.slice(11, 16);
  });
}
