// Scales and their ticks, for values and for time.

// valueTicks gives about `about` round values that cover [low, high].
export function valueTicks(low, high, about = 4) {
  const span = high - low;
  if (!(span > 0)) return [low];
  const rough = span / about;
  const magnitude = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].find((m) => m * magnitude >= rough) * magnitude;
  const ticks = [];
  for (let i = Math.floor(low / step); i <= Math.ceil(high / step - 1e-9); i++) ticks.push(i * step);
  return ticks;
}

const second = 1000;
const minute = 60 * second;
const hour = 60 * minute;
const day = 24 * hour;
const steps = [
  second, 2 * second, 5 * second, 10 * second, 15 * second, 30 * second,
  minute, 2 * minute, 5 * minute, 10 * minute, 15 * minute, 30 * minute,
  hour, 2 * hour, 3 * hour, 6 * hour, 12 * hour, day, 2 * day, 7 * day, 14 * day, 30 * day, 90 * day, 365 * day,
];

// timeTicks gives at most `most` moments in [from, to] on round times, with labels.
export function timeTicks(from, to, most) {
  const step = steps.find((ms) => (to - from) / ms <= most) ?? steps.at(-1);
  const ticks = [];
  for (let at = Math.ceil(from / step) * step; at <= to; at += step) ticks.push({ at, label: timeLabel(at, step) });
  return ticks;
}

function timeLabel(at, step) {
  const iso = new Date(at).toISOString();
  if (step >= day || at % day === 0) return iso.slice(step >= 30 * day ? 0 : 5, 10);
  return step >= minute ? iso.slice(11, 16) : iso.slice(11, 19);
}

export const linear = (from, to, start, end) => (v) => start + ((v - from) / (to - from || 1)) * (end - start);
