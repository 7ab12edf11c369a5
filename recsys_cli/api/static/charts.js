/* Plots as inline SVG: no library, nothing from elsewhere, styled by page.css so that a strict policy lets them be. */

const SVG = 'http://www.w3.org/2000/svg';
const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [760, 220, 56, 12, 12, 26];

const draw = (tag, attributes = {}, text) => {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  return element;
};

const short = (value) => {
  for (const [size, letter] of [[1e6, 'M'], [1e3, 'k']]) {
    if (Math.abs(value) >= size) return `${Number((value / size).toPrecision(3))}${letter}`;
  }
  return String(Number(value.toPrecision(3)));
};

/** Round numbers from at most `low` to at least `high`. */
export function ticks(high, low = 0, count = 4) {
  const span = high - low;
  if (!(span > 1e-9) || !Number.isFinite(span)) return [low, low + 1];
  let step = 10 ** Math.floor(Math.log10(span / count));
  step *= [1, 2, 2.5, 5, 10].find((m) => span / (step * m) <= count);
  const found = [];
  for (let n = Math.floor(low / step); n <= Math.ceil(high / step); n += 1) found.push(n * step);
  return found;
}

/** A plane with axes: {root, x, y, step}; `said` is what a screen reader tells of it. */
function plane(name, said, labels, marks) {
  const root = draw('svg', { class: 'plot', viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: 'img', 'aria-label': `${name}. ${said}` });
  const [low, high] = [marks[0], marks.at(-1)];
  const step = (WIDTH - LEFT - RIGHT) / Math.max(labels.length, 1);
  const x = (column) => LEFT + step * (column + 0.5);
  const y = (value) => HEIGHT - BOTTOM - ((value - low) / (high - low)) * (HEIGHT - BOTTOM - TOP);
  for (const mark of marks) {
    root.append(draw('line', { class: mark === 0 ? 'zero' : 'grid', x1: LEFT, x2: WIDTH - RIGHT, y1: y(mark), y2: y(mark) }));
    root.append(draw('text', { class: 'tick', x: LEFT - 8, y: y(mark) + 4, 'text-anchor': 'end' }, short(mark)));
  }
  const every = Math.max(Math.ceil(labels.length / 6), 1);
  for (let column = labels.length - 1; column >= 0; column -= every) {
    const at = Math.min(Math.max(x(column), LEFT + 20), WIDTH - RIGHT - 24);
    root.append(draw('text', { class: 'tick', x: at, y: HEIGHT - 6, 'text-anchor': 'middle' }, labels[column]));
  }
  return { root, x, y, step };
}

/** Bars, before pale ones that they are a part of; `tell` makes the words of one. */
export function bars(name, labels, values, whole, tell) {
  const { root, x, y, step } = plane(name, tell(-1), labels, ticks(Math.max(...values, ...whole, 0), Math.min(...values, 0)));
  const width = Math.max(Math.min(step * 0.7, 34), 1);
  for (const [kind, series] of [['pale', whole], ['strong', values]]) {
    series.forEach((value, column) => {
      const [top, zero] = [Math.min(y(value), y(0)), y(0)];
      const bar = draw('rect', { class: kind, x: x(column) - width / 2, y: top, width, height: Math.abs(zero - y(value)), rx: Math.min(width / 6, 3) });
      bar.append(draw('title', {}, tell(column)));
      root.append(bar);
    });
  }
  return root;
}

/** A line with gaps where a value is null. */
export function line(name, labels, values, said) {
  const known = values.filter((v) => v !== null);
  const { root, x, y } = plane(name, said, labels, ticks(Math.max(...known, 0), Math.min(...known, 0)));
  let run = [];
  [...values, null].forEach((value, column) => {
    if (value !== null) run.push(`${x(column)},${y(value)}`);
    else if (run.length) {
      const [first] = run;
      const [cx, cy] = first.split(',');
      root.append(run.length > 1 ? draw('polyline', { class: 'series', points: run.join(' ') }) : draw('circle', { class: 'strong', cx, cy, r: 2.5 }));
      run = [];
    }
  });
  return root;
}

/** Values with intervals {value, low, high}, and a mark for what they are compared with. */
export function whiskers(name, labels, intervals, floor, said) {
  const all = [...intervals.flatMap(({ value, low, high }) => [value, low, high]), ...floor.filter((v) => v !== null)];
  const { root, x, y, step } = plane(name, said, labels, ticks(Math.max(...all, 0), Math.min(...all, 0)));
  const half = Math.min(step * 0.25, 12);
  intervals.forEach(({ value, low, high }, column) => {
    root.append(draw('line', { class: 'whisker', x1: x(column), x2: x(column), y1: y(low), y2: y(high) }));
    root.append(draw('circle', { class: 'strong', cx: x(column), cy: y(value), r: 4 }));
    const mark = floor[column];
    if (mark !== null) root.append(draw('line', { class: 'floor', x1: x(column) - half, x2: x(column) + half, y1: y(mark), y2: y(mark) }));
  });
  return root;
}

/** An interval that narrows from day to day around no difference. */
export function funnel(name, labels, bounds, said) {
  const sizes = bounds.flatMap(({ low, high }) => [Math.abs(low), Math.abs(high)]).sort((a, b) => a - b);
  const limit = Math.max(sizes[Math.min(Math.floor(sizes.length * 0.9), sizes.length - 1)] ?? 1, 1e-9);
  const cut = (value) => Math.min(Math.max(value, -limit), limit);
  const { root, x, y } = plane(name, said, labels, ticks(limit, -limit));
  const edge = (key) => bounds.map((b, column) => `${x(column)},${y(cut(b[key]))}`);
  root.append(draw('polygon', { class: 'band', points: [...edge('high'), ...edge('low').reverse()].join(' ') }));
  root.append(draw('polyline', { class: 'series', points: edge('value').join(' ') }));
  return root;
}

/** A small line for a table. */
export function spark(values, name) {
  const [high, low] = [Math.max(...values, 0), Math.min(...values, 0)];
  const step = 120 / Math.max(values.length - 1, 1);
  const points = values.map((v, n) => `${n * step},${26 - ((v - low) / (high - low || 1)) * 24}`).join(' ');
  const root = draw('svg', { class: 'spark', viewBox: '0 0 120 28', role: 'img', 'aria-label': name });
  root.append(draw('polyline', { class: 'series', points }));
  return root;
}
