/* How the recommender is, from what the server tells of itself; nobody's id is in it. */

import { owner } from './owner.js';
import { counted, heard, language, say } from './language.js';
import { ask, make, tell } from './page.js';

const EVERY = 3000; // ms
const HOUR = 3600;
const DAY = 24 * HOUR;
const FEW = 20; // answers below which the last seconds say nothing, and all since the start are taken
const ENOUGH = 100; // answers from which on a share or the slowest of a hundred mean something
const LISTS = new Set(['/recommend', '/session/{session_id}', '/similar-items', '/bought-together', '/popular', '/trending', '/new', '/rank']);
const WORD = { good: say('Fine'), warn: say('Look'), bad: say('Act'), none: '' };

/** Show the state in `main` until the function it returns is called. */
export function dashboard(main) {
  const summary = make('p', { class: 'lead', role: 'status', text: say('Asking the server…') });
  const sold = make('div', { class: 'stack' });
  const tiles = make('div', { class: 'tiles' });
  const charts = make('div', { class: 'tiles charts' });
  main.append(make('h1', { text: say('Does it sell more?') }), sold, make('h1', { class: 'second', text: say('How the server is') }), summary, tiles, charts);
  const count = owner(sold);
  let last = null;
  let timer = 0;
  let gone = false;

  const look = async () => {
    clearTimeout(timer);
    if (document.visibilityState === 'visible') {
      const now = await read();
      now.report = await count().catch((error) => { now.error ??= error; return null; });
      if (gone) return;
      const shown = describe(now, last);
      if (now.metrics) last = now;
      tiles.replaceChildren(...shown.filter((t) => !t.rows).map(tile));
      charts.replaceChildren(...shown.filter((t) => t.rows).map(tile));
      const whole = (now.status && now.metrics) || shown[0].state === 'bad';
      const words = whole ? inShort(shown) : say('Only a part of it can be shown with this key.');
      if (summary.textContent !== words) summary.textContent = words; // said aloud only when it changes
      tell(now.error);
    }
    if (!gone) timer = setTimeout(look, EVERY);
  };
  document.addEventListener('visibilitychange', look);
  look();
  return () => {
    gone = true;
    clearTimeout(timer);
    document.removeEventListener('visibilitychange', look);
  };
}

async function read() {
  const now = { at: performance.now() / 1000, time: Date.now() / 1000, error: null };
  const names = ['health', 'ready', 'status', 'metrics'];
  const replies = await Promise.allSettled(names.map((name) => ask(name, { text: name === 'metrics' })));
  replies.forEach((reply, place) => {
    if (reply.status === 'fulfilled') now[names[place]] = reply.value;
    // Not ready is a tile of its own, not an error of this page.
    else if (reply.reason.reply?.status !== 503) now.error ??= reply.reason;
  });
  if (now.metrics) now.metrics = parse(now.metrics);
  return now;
}

/** Samples of Prometheus' text: [name, labels, value]. */
export function parse(text) {
  const found = [];
  for (const line of text.split('\n')) {
    const match = /^([a-z_]+)(?:\{(.*)\})? (\S+)$/.exec(line);
    if (!match) continue;
    const labels = {};
    for (const [, name, value] of (match[2] ?? '').matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)) labels[name] = value;
    found.push([match[1], labels, Number(match[3])]);
  }
  return found;
}

const sum = (metrics, name, fits = () => true) =>
  metrics.reduce((total, [n, labels, value]) => (n === name && fits(labels) ? total + value : total), 0);

/** Totals by the value of one label, greatest first. */
function by(metrics, name, label) {
  const totals = new Map();
  for (const [n, labels, value] of metrics) if (n === name) totals.set(labels[label], (totals.get(labels[label]) ?? 0) + value);
  return [...totals].filter(([, value]) => value > 0).sort((a, b) => b[1] - a[1]);
}

/** Counts of a histogram by upper bound; what was counted before is taken off. */
function buckets(metrics, before, name, fits = () => true) {
  const counts = new Map();
  for (const [part, sign] of [[metrics, 1], [before ?? [], -1]]) {
    for (const [n, labels, value] of part) {
      if (n !== `${name}_bucket` || !fits(labels)) continue;
      const bound = labels.le === '+Inf' ? Infinity : Number(labels.le);
      counts.set(bound, (counts.get(bound) ?? 0) + sign * value);
    }
  }
  return [...counts].sort((a, b) => a[0] - b[0]);
}

/** The value below which a share of all lies, as near as the buckets tell; null of nothing. */
function quantile(counts, share) {
  const total = counts.at(-1)?.[1] ?? 0;
  if (total <= 0) return null;
  let low = 0;
  let below = 0;
  for (const [bound, count] of counts) {
    if (count >= share * total) return bound === Infinity ? low : low + ((bound - low) * (share * total - below)) / (count - below);
    [low, below] = [bound, count];
  }
  return low;
}

const number = (value, digits = 0) => new Intl.NumberFormat(language, { maximumFractionDigits: digits }).format(value);
const duration = (s) => (s < 1 ? `${number(s * 1000, s < 0.01 ? 1 : 0)} ms` : `${number(s, 1)} s`);
const bytes = (b) => (b < 1 ? say('Nothing') : b < 1e6 ? `${number(b / 1e3)} kB` : `${number(b / 1e6)} MB`);
const percent = (share) => `${number(share * 100, 1)} %`;
const many = (n, word) => counted(number(n), n === 1 ? word : `${word}s`);

function ago(seconds) {
  if (seconds < 90) return say('just now');
  if (seconds < 2 * HOUR) return say`${Math.round(seconds / 60)} minutes ago`;
  if (seconds < 2 * DAY) return say`${Math.round(seconds / HOUR)} hours ago`;
  return say`${number(Math.round(seconds / DAY))} days ago`;
}

function inShort(shown) {
  const bad = shown.filter((t) => t.state === 'bad').length;
  const warn = shown.filter((t) => t.state === 'warn').length;
  if (bad) return `${say`${many(bad, 'thing')} to act on`}${warn ? say`, ${number(warn)} to look at` : ''}.`;
  return warn ? say`Running; ${many(warn, 'thing')} to look at.` : say('All is well.');
}

// -- what the tiles say

function describe(now, last) {
  const tiles = [readiness(now)];
  if (now.status) tiles.push(model(now), quality(now.status), data(now));
  if (now.metrics) tiles.push(...traffic(now, last?.metrics ? last : null));
  if (now.health) tiles.push(worker(now));
  if (now.metrics) tiles.push(backlog(now), process(now));
  return tiles.filter(Boolean);
}

function readiness(now) {
  if (!now.health) {
    return { name: say('Server'), value: say('No answer'), state: 'bad', help: say('Is recsys serve running? Start it, or look in its log.') };
  }
  if (!now.ready) {
    return { name: say('Server'), value: say('Not ready'), state: 'bad', help: say('No version is loaded: run recsys train, and it is served within a second.') };
  }
  return { name: say('Server'), value: say('Ready'), sub: say`serves ${now.ready.version}`, state: 'good', id: 'served' };
}

function model({ status, time }) {
  const age = time - status.trained.created_at;
  const fresh = status.version === status.trained.version ? '' : say`, brought up to date ${ago(time - status.created_at)}`;
  return {
    name: say('Model'),
    value: status.model,
    sub: say`trained ${ago(age)} as ${status.trained.version}${fresh}`,
    state: age > 30 * DAY ? 'warn' : 'good',
    help: age > 30 * DAY && say('No training for a month: does recsys update-worker run, and is update.retrain on? Or run recsys train.'),
  };
}

function quality({ model: name, metrics, popular, lead }) {
  if (!metrics?.['ndcg@10']) {
    return { name: say('Better than popularity?'), value: say('Not judged'), state: 'warn', help: say('Too little data to hide a part of: with more orders, train again.') };
  }
  const rows = [];
  for (const [metric, words] of [['ndcg@10', say('Right items, high up (NDCG@10)')], ['hr@10', say('Customers who get a hit (HR@10)')]]) {
    if (!metrics[metric]) continue;
    rows.push({ label: words, group: true });
    rows.push({ label: name, value: metrics[metric].value, text: number(metrics[metric].value, 3) });
    if (popular?.[metric]) rows.push({ label: say('popularity'), value: popular[metric].value, text: number(popular[metric].value, 3), muted: true });
  }
  const sure = lead?.['ndcg@10'];
  const share = sure && popular?.['ndcg@10']?.value ? sure.value / popular['ndcg@10'].value : null;
  const state = !sure ? 'none' : sure.high < 0 ? 'bad' : sure.low <= 0 ? 'warn' : 'good';
  return {
    name: say('Better than popularity?'),
    value: share === null ? say('As judged') : `${share >= 0 ? '+' : '−'}${number(Math.abs(share) * 100)} %`,
    sub: say('on days the model had not seen, at its training'),
    state,
    rows,
    help: state === 'bad' ? say('Popular items alone do better: run recsys tune, or recsys models rollback --model.')
      : state === 'warn' && say('Not surely better than popular items: recsys tune may find a better model; more orders help most.'),
  };
}

function data({ status, time }) {
  const { items, users, events, last_ts: newest } = status.data;
  const age = newest ? time - newest : 0;
  return {
    name: say('Data'),
    value: many(events, 'event'),
    sub: say`${many(items, 'item')}, ${number(users)} customers and guests; newest event ${ago(age)}`,
    state: age > 7 * DAY ? 'warn' : 'good',
    help: age > 7 * DAY && say('Nothing newer has come in: do your pages post to /events, or is an export waiting for recsys ingest?'),
  };
}

function traffic(now, last) {
  const { metrics } = now;
  // Counts that fell are those of a server that was started again.
  const total = sum(metrics, 'recsys_answers_total');
  const before = last && sum(last.metrics, 'recsys_answers_total') <= total ? last : null;
  const recent = before ? total - sum(before.metrics, 'recsys_answers_total') : 0;
  const rate = before ? recent / (now.at - before.at) : null;
  const lists = (labels) => LISTS.has(labels.route);
  const enough = before && recent >= FEW;
  const times = buckets(metrics, enough ? before.metrics : null, 'recsys_request_seconds', lists);
  const [half, slow] = [quantile(times, 0.5), quantile(times, 0.99)];
  const fallbacks = sum(metrics, 'recsys_fallback_answers_total');
  const personal = (labels) => labels.route === '/recommend' || labels.route === '/session/{session_id}';
  const asked = sum(metrics, 'recsys_answers_total', personal);
  const week = (now.report?.daily ?? []).slice(-7); // which a server that was started again still knows
  const seven = (key) => week.reduce((all, row) => all + row[key], 0);
  const kept = asked < FEW && seven('lists') >= FEW; // too few since the start: the last days say more
  const stood = kept ? seven('fallbacks') / Math.max(seven('items'), 1) : asked ? sum(metrics, 'recsys_fallback_answers_total', personal) / asked : 0;
  const few = !kept && asked < FEW;
  const faults = sum(metrics, 'recsys_requests_total', ({ status }) => status.startsWith('5'));
  const lag = buckets(metrics, null, 'recsys_event_lag_seconds');
  const late = quantile(lag, 0.99);
  const events = by(metrics, 'recsys_events_total', 'type');
  const received = now.report?.feed?.received ?? 0;
  const rows = (pairs) => pairs.slice(0, 8).map(([label, value]) => ({ label: heard(label), value, text: number(value) }));
  return [
    {
      name: say('Lists answered'), value: rate === null ? '…' : `${number(rate, rate < 10 ? 1 : 0)} /s`,
      sub: say`${number(total)} since the server started` + (week.length ? say`; ${number(week.at(-1).lists)} today, ${number(seven('lists'))} in 7 days` : ''),
      state: faults ? 'warn' : 'good',
      help: faults ? say`${many(faults, 'request')} failed in the server (5xx): look in its log.` : null,
    },
    {
      name: say('Time to answer'), value: slow === null ? '–' : total < FEW ? say('Too few to say') : duration(half),
      sub: slow === null ? say('no lists yet') : say`half are faster; 99 of 100 within ${duration(slow)}` + (enough ? say(', now') : say(', since the start')),
      // Of a few answers the slowest is the one that had to wake everything up.
      state: slow === null || total < ENOUGH ? 'none' : slow > 0.25 ? 'bad' : slow > 0.05 ? 'warn' : 'good',
      help: total >= ENOUGH && slow > 0.05 && say('Slow: is something else using the processor? More processes: recsys serve --workers 2.'),
    },
    {
      name: say('Only popular items'), value: few ? say('Too few to say') : percent(stood),
      sub: kept ? say`of the places in ${many(seven('lists'), 'list')} of the last 7 days`
        : (asked ? say`of ${many(asked, 'personal list')} had nothing better` : say('no personal lists yet')) + say`; ${number(fallbacks)} of all ${number(total)}`,
      state: few ? 'none' : stood > 0.6 ? 'warn' : 'good',
      help: stood > 0.6 && !few && say('Most visitors are strangers here: do pages send user_id or session_id, and post views to /events?'),
    },
    {
      name: say('Events received'), value: number(events.reduce((all, [, n]) => all + n, 0)),
      sub: (late === null ? say('none since the server started') : say`99 of 100 count within ${duration(late)}`) + (received ? say`; ${number(received)} in ${now.report.days} days` : ''),
      state: late === null ? 'none' : late > 2 ? 'bad' : late > 1 ? 'warn' : 'good',
      help: late > 1 && say('Events take long to count: is the disk slow or full, or the processor busy?'),
    },
    total ? { name: say('Lists by route'), rows: rows(by(metrics, 'recsys_answers_total', 'route')), state: 'none' } : null,
    total ? { name: say('Lists by source of the first item'), rows: rows(by(metrics, 'recsys_answers_total', 'source')), state: 'none' } : null,
    events.length ? { name: say('Events by type'), rows: rows(events), state: 'none' } : null,
  ];
}

function worker({ health, time }) {
  const last = health.worker;
  if (!last) {
    return {
      name: say('Update worker'), value: say('Never ran'), state: 'warn',
      help: say('What is received counts at once, but is not learned from. Let cron run recsys update-worker --once every minute.'),
    };
  }
  const age = time - last.last_pass_at;
  const failing = last.failures_in_a_row;
  const state = failing > 2 || age > 3 * HOUR ? 'bad' : failing || age > 20 * 60 ? 'warn' : 'good';
  return {
    name: say('Update worker'), value: ago(age),
    sub: say`last pass: ${heard(last.outcome)}` + (failing ? say`; ${many(failing, 'failure')} in a row` : ''), state,
    help: failing ? say('Passes fail: recsys status says why, and so does the worker’s log.')
      : state !== 'good' && say`The last worker pass was ${ago(age)}: is cron running?`,
  };
}

function backlog({ metrics, health }) {
  const waiting = sum(metrics, 'recsys_spool_backlog_bytes');
  const lag = health?.worker?.lag_seconds ?? 0;
  const state = lag > 3 * HOUR ? 'bad' : lag > HOUR || waiting > 50e6 ? 'warn' : 'good';
  return {
    name: say('Waiting for the worker'), value: bytes(waiting),
    sub: lag ? say`the oldest event had waited ${duration(lag)} at its last pass` : say('received, and not yet in the database'), state,
    help: state !== 'good' && say('Events pile up: run recsys update-worker --once by hand and read what it says.'),
  };
}

function process({ metrics }) {
  const refused = sum(metrics, 'recsys_versions_refused_total');
  return {
    name: say('Memory'), value: bytes(sum(metrics, 'recsys_resident_bytes')), sub: say('all server processes'),
    state: refused ? 'bad' : 'good',
    help: refused ? say`${many(refused, 'damaged version')} refused; the last good one is served. Check the disk, then recsys models list --verify.` : null,
  };
}

function tile({ name, value, sub, state, help, rows, id }) {
  const box = make('section', { class: `tile ${state}`, 'aria-label': name, 'data-tile': id ?? name });
  box.append(make('header', {}, make('h2', { text: name }), make('span', { class: 'state', text: WORD[state] })));
  if (value) box.append(make('p', { class: 'value', text: value }));
  if (sub) box.append(make('p', { class: 'sub', text: sub }));
  if (rows?.length) box.append(bars(rows));
  if (help) box.append(make('p', { class: 'help', text: help }));
  return box;
}

function bars(rows) {
  const most = Math.max(...rows.map((row) => row.value ?? 0), 1e-9);
  let widest = most;
  return make('div', { class: 'bars' }, rows.map((row, place) => {
    if (row.group) {
      // Bars are compared within their group only.
      const mates = rows.slice(place + 1);
      const end = mates.findIndex((mate) => mate.group);
      widest = Math.max(...mates.slice(0, end < 0 ? undefined : end).map((mate) => mate.value), 1e-9);
      return make('p', { class: 'group', text: row.label });
    }
    const fill = make('span', { class: row.muted ? 'fill muted' : 'fill' });
    fill.style.setProperty('width', `${Math.max((100 * row.value) / widest, 1)}%`);
    return make('div', { class: 'bar' }, make('span', { class: 'label', text: row.label }),
      make('span', { class: 'track', 'aria-hidden': 'true' }, fill), make('span', { class: 'number', text: row.text }));
  }));
}
