/* Figures for people, as the pages write them (app/web/rendering.py). */

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB'];

/** @param {number} numBytes 12.3 MB: three digits, powers of 1000 */
export function bytesText(numBytes) {
  let value = numBytes;
  let unit = 0;
  while (value >= 1000 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${value.toFixed(unit === 0 || value >= 100 ? 0 : 1)} ${UNITS[unit]}`;
}

/** @param {number} seconds 2 h 5 min, 3 min 20 s, 12 s */
export function secondsText(seconds) {
  const whole = Math.round(seconds);
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60)];
  if (hours) return `${hours} h ${minutes} min`;
  return minutes ? `${minutes} min ${whole % 60} s` : `${whole} s`;
}
