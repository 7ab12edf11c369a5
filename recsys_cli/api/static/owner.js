/* What the owner asks: does it sell more? From the report that the update worker makes; nobody's id is in it. */

import { bars, funnel, line, spark, whiskers } from './charts.js';
import { card, table } from './finder.js';
import { heard, language, say } from './language.js';
import { ask, begin, make, money as amount, words, withArticle } from './page.js';

const RANGES = [7, 28, 90];
const number = (value, digits = 0) => new Intl.NumberFormat(language, { maximumFractionDigits: digits }).format(value);
let unit = ''; // the shop's currency, as the report has it
const money = (value) => amount(value, unit);
/** A share in words; what is short of the whole is never rounded up to it. */
const percent = (share, digits = 1) => {
  if (share === null) return '–';
  const step = 10 ** digits;
  return `${number(share < 1 ? Math.min(Math.round(share * 100 * step) / step, 100 - 1 / step) : share * 100, digits)} %`;
};
const SUMS = ['lists', 'items', 'fallbacks', 'seen', 'clicks', 'carts', 'orders', 'revenue', 'refunds'];

/** Sums of rows, with the shares that follow from them. */
export function total(rows) {
  const sums = Object.fromEntries(SUMS.map((name) => [name, rows.reduce((all, row) => all + row[name], 0)]));
  const share = (part, whole) => (whole ? part / whole : null);
  return {
    ...sums,
    ctr: share(sums.clicks, sums.seen),
    per_thousand_seen: sums.seen ? (1000 * sums.revenue) / sums.seen : null,
    fallback_share: share(sums.fallbacks, sums.items),
  };
}

/** Rows by a name, each with its sums and what it earned every day, the most money first. */
export function grouped(rows, key, days) {
  const groups = new Map();
  for (const row of rows) {
    const name = key(row);
    if (name) groups.set(name, [...(groups.get(name) ?? []), row]);
  }
  return [...groups]
    .map(([name, mine]) => ({
      name,
      ...total(mine),
      daily: days.map((day) => mine.reduce((all, row) => (row.day === day ? all + row.revenue : all), 0)),
    }))
    .sort((a, b) => b.revenue - a.revenue || b.seen - a.seen);
}

/** Show the figures in `place`; asks for them whenever the function it returns is called, which gives them. */
export function owner(place) {
  let days = 28;
  let span = null; // of two dates that were chosen, in place of the last days
  let report = null;
  const show = () => {
    if (!report) place.replaceChildren(nothing());
    else {
      unit = report.currency ?? '';
      const daily = report.daily.filter((row) => !span || (row.day >= span[0] && row.day <= span[1])).slice(span ? 0 : -days);
      place.replaceChildren(choice(daily), ...sections(report, daily, span ? 0 : days));
    }
  };
  const date = (label, value) => {
    const field = make('input', { type: 'date', value, min: report.since, max: report.until, 'aria-label': label });
    field.addEventListener('change', () => {
      const [from, to] = [...place.querySelectorAll('input[type=date]')].map((one) => one.value).sort();
      if (!from) return;
      span = [from, to];
      show();
      place.querySelector(`[aria-label="${label}"]`).focus();
    });
    return field;
  };
  const choice = (daily) => {
    const group = make('div', { class: 'ranges', role: 'group', 'aria-label': say('Days') });
    for (const one of RANGES) {
      const button = make('button', { type: 'button', 'aria-pressed': String(!span && one === days), text: say`${one} days` });
      button.addEventListener('click', () => {
        days = one;
        span = null;
        show();
        place.querySelector('.ranges [aria-pressed=true]').focus();
      });
      group.append(button);
    }
    group.append(make('span', { class: 'dates' }, date(say('From'), daily[0]?.day ?? report.since), '–', date(say('To'), daily.at(-1)?.day ?? report.until)));
    group.append(make('span', { class: 'small-note', text: say`Counted ${when(report.made_at)}, up to ${report.until}` }));
    return group;
  };
  return async () => {
    const fresh = await ask('report');
    if (place.firstChild && fresh.made_at === (report?.made_at ?? null)) return report;
    report = fresh.made_at === null ? null : fresh;
    show();
    return report;
  };
}

const when = (at) => new Date(at * 1000).toISOString().slice(0, 16).replace('T', ' ');

function nothing() {
  return make('p', {
    class: 'lead',
    text: say('What lists sold is counted by recsys update-worker, which has not run yet. recsys report tells the same in a terminal.'),
  });
}

function sections(report, daily, days) {
  const dates = daily.map((row) => row.day);
  const rows = report.rows.filter((row) => row.day >= dates[0] && row.day <= dates.at(-1));
  return [
    head(report, daily, days), sales(daily), rates(daily), placements(rows, dates), campaigns(report.campaigns ?? [], report.days), rules(report.rules ?? []), experiments(report.experiments ?? [], rows, dates),
    products(report.exposure), versions(report.quality),
  ].filter(Boolean);
}

function head(report, daily, days) {
  const sums = total(daily);
  const shop = daily.reduce((all, row) => all + row.shop_revenue, 0);
  const orders = daily.reduce((all, row) => all + row.shop_orders, 0);
  // Who bought in two spans is one buyer, so that these cannot be summed from days.
  const known = report.buyers?.find((one) => one.days === days) ?? { ...report.totals, days: report.days };
  const { buyers, buyers_touched: found } = known;
  const said = !sums.seen
    ? say('Nobody is known to have seen a list in these days: embed the carousel with data-consent, or post impressions and clicks with the answer’s request_id to /events.')
    : say`Sales of ${money(sums.revenue)} followed a list${shop > 0 ? say`, ${percent(sums.revenue / shop)} of what the ${words.shop} sold` : ''}.`;
  const told = buyers && sums.seen ? say` ${number(found)} of ${number(buyers)} buyers of the last ${known.days} days found something in a list that they then bought.` : '';
  const tiles = [
    [say('Sales attributed to lists'), money(sums.revenue), say`of ${money(shop)} in the ${words.shop}, refunds taken off`, 'revenue'],
    [say`${begin(words.orders)} with ${withArticle('product')} from a list`, number(sums.orders), say`of ${number(orders)}`, 'orders'],
    [say('Sales per 1,000 items seen'), money(sums.per_thousand_seen), say`${number(sums.seen)} items seen`, 'per_thousand_seen'],
    [say('Clicked of what was seen'), percent(sums.ctr), say`${number(sums.clicks)} clicks`, 'ctr'],
  ];
  return make('section', { 'aria-label': say('In money') },
    make('p', { class: 'lead said', text: said + told }),
    make('div', { class: 'tiles' }, tiles.map(([name, value, sub, field]) =>
      make('section', { class: 'tile', 'aria-label': name, title: say`In recsys report --json: ${field}` },
        make('header', {}, make('h2', { text: name })), make('p', { class: 'value', text: value }), make('p', { class: 'sub', text: sub })))));
}

function sales(daily) {
  const labels = daily.map((row) => row.day.slice(5));
  const sums = total(daily);
  const tell = (n) => (n < 0 ? say`${money(sums.revenue)} in ${daily.length} days` : say`${daily[n].day}: ${money(daily[n].revenue)} of ${money(daily[n].shop_revenue)}`);
  const key = make('p', { class: 'legend' },
    make('span', { class: 'strong', text: say('owed to lists') }), make('span', { class: 'pale', text: say`the whole ${words.shop}` }));
  return card(say('Sales by day'), key, bars(say('Sales by day'), labels, daily.map((r) => r.revenue), daily.map((r) => r.shop_revenue), tell));
}

function rates(daily) {
  const labels = daily.map((row) => row.day.slice(5));
  const of = (name) => daily.map((row) => (row[name] === null ? null : 100 * row[name]));
  const sums = total(daily);
  return make('div', { class: 'tiles charts' },
    card(say('Clicked of what was seen, %'), line(say('Clicked of what was seen'), labels, of('ctr'), say`${percent(sums.ctr)} over all`)),
    card(say('Only popular items, because nothing better was known, %'), line(say('Only popular items'), labels, of('fallback_share'), say`${percent(sums.fallback_share)} over all`)));
}

const figures = () => [
  [say('Lists'), (r) => number(r.lists)], [say('Items seen'), (r) => number(r.seen)], [say('Clicked'), (r) => percent(r.ctr)], [begin(words.orders), (r) => number(r.orders)],
  [say('Sales'), (r) => money(r.revenue)], [say('per 1,000 seen'), (r) => money(r.per_thousand_seen)],
];

function placements(rows, dates) {
  const groups = grouped(rows, (row) => row.placement, dates);
  if (!groups.length) return null;
  return table(say('By placement'), groups, [[say('Placement'), (r) => r.name, true], ...figures(), [say('by day'), (r) => spark(r.daily, say`Sales by day, ${r.name}`)]]);
}

const day = (at) => new Date(at * 1000).toISOString().slice(0, 10);

/** What the shop's campaigns do, and what came of their items while they ran. */
function campaigns(found, days) {
  if (!found.length) return null;
  const what = (c) => `${heard(c.action)} ${c.items}${c.factor ? ` × ${number(c.factor, 2)}` : ''}${c.position ? say` at place ${c.position}` : ''}`;
  const span = (c) => say`${c.since ? day(c.since) : say('ever')} to ${c.until ? day(c.until - 1) : say('open')}`;
  return table(say`Campaigns, and what their items did in lists while they ran (the last ${days} days)`, found, [
    [say('Campaign'), what, true], [say('Days'), span, true], [say('Now'), (c) => (c.runs ? say('in force') : say('not in force')), true], [say('Items'), (c) => number(c.matched)],
    [say('Seen'), (c) => number(c.seen)], [say('Clicks'), (c) => number(c.clicks)], [say('Sold'), (c) => number(c.units)], [say('Sales'), (c) => money(c.revenue)],
  ]);
}

function rules(found) {
  if (!found.length) return null;
  return table(say('Rules in force, beside the usual ones'), found, [
    [say('Rule'), (r) => r.name, true], [say('Set to'), (r) => String(r.value), true], [say('What it does'), (r) => heard(r.help), true],
  ]);
}

function experiments(found, rows, dates) {
  const parts = found.map((one) => {
    const history = one.history ?? [];
    const chart = history.length > 1
      ? funnel(say`${heard(one.measure)}, by day`, history.map((h) => h.day.slice(5)), history, say('The band is what it can be; it narrows with every visitor.'))
      : null;
    return card(say`Experiment ${one.name}`, make('p', { class: 'value small-value', text: heard(one.sentence) }),
      make('p', { class: 'sub', text: say`${heard(one.state)}, ${number(one.days, 1)} days; a: ${one.arms[0]}, b: ${one.arms[1]}` + (one.reason ? `; ${heard(one.reason)}` : '') }), chart);
  });
  const arms = grouped(rows, (row) => (row.experiment ? `${row.experiment} ${row.arm}`.trim() : ''), dates)
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  if (arms.length) parts.push(table(say('By arm'), arms, [[say('Experiment and arm'), (r) => r.name, true], ...figures()]));
  return parts.length ? make('div', { class: 'stack' }, parts) : null;
}

function products(exposure) {
  const name = [begin(words.product), (r) => r.title ?? r.item_id, true];
  const seen = [say('Seen'), (r) => number(r.seen)];
  const parts = [];
  if (exposure.top.length) {
    parts.push(table(say('Sell best in lists'), exposure.top, [name, seen, [say('Clicks'), (r) => number(r.clicks)], [say('Sold'), (r) => number(r.units)], [say('Sales'), (r) => money(r.revenue)]]));
  }
  if (exposure.ignored.length) parts.push(table(say('Seen and never clicked'), exposure.ignored, [name, seen]));
  if (exposure.for_sale) {
    const missing = exposure.never_shown.map((r) => r.title ?? r.item_id).join(', ');
    parts.push(card(say('Catalogue'), make('p', { class: 'value', text: say`${percent(exposure.coverage ?? 0, 0)} was in a list` }),
      make('p', { class: 'sub', text: say`${number(exposure.shown)} of ${number(exposure.for_sale)} items for sale` + (missing ? say`; never shown: ${missing}${exposure.never_shown_count > exposure.never_shown.length ? ' …' : ''}` : '') })));
  }
  return parts.length ? make('div', { class: 'tiles charts' }, parts) : null;
}

function versions(quality) {
  const judged = quality.filter((v) => v.quality);
  if (!judged.length) return null;
  const key = make('p', { class: 'legend' },
    make('span', { class: 'strong', text: say('the model, with its 95 % interval') }), make('span', { class: 'floor', text: say('popular items alone') }));
  const newest = judged.at(-1);
  const said = say`newest ${newest.version}: ${number(newest.quality.value, 3)}`;
  const plot = whiskers(say('Quality of each training'), judged.map((v) => v.version), judged.map((v) => v.quality), judged.map((v) => v.popular?.value ?? null), said);
  const rows = judged.slice(-8).reverse();
  return make('div', { class: 'stack' },
    card(say('Quality of each training (NDCG@10 on days it had not seen)'), key, plot),
    table(say('What changed, and why'), rows, [
      [say('Version'), (v) => v.version, true], [say('Made'), (v) => when(v.created_at).slice(0, 10), true], [say('Model'), (v) => v.model, true],
      ['NDCG@10', (v) => number(v.quality.value, 4)], [say('Served'), (v) => (v.served ? say('yes') : say('kept back')), true], [say('Why'), (v) => heard(v.reason || '–'), true],
    ]));
}
