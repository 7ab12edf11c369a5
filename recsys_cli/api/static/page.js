/* The shop owner's page: which view is shown, and how both ask the server. */

import { dashboard } from './dashboard.js';
import { finder } from './finder.js';
import { language, own, say, sayStatic, words } from './language.js';
import { placements } from './placements.js';
import { storefront } from './storefront.js';

/** An element with text and children; text is never markup. */
export const make = (tag, { text, ...attributes } = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, '');
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  if (text !== undefined) element.textContent = text;
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
};

const random = () => Array.from(crypto.getRandomValues(new Uint8Array(9)), (b) => b.toString(16).padStart(2, '0')).join('');

/** The key: from the link that `recsys serve` prints, else as this tab knows it. It does not stay in the address. */
const givenKey = () => {
  const given = /^#key=([\w-]+)$/.exec(location.hash)?.[1];
  if (given) {
    sessionStorage.setItem('recsys-key', given);
    history.replaceState(null, '', '#/');
  }
  return given ?? sessionStorage.getItem('recsys-key') ?? '';
};

// All that is remembered, and only as long as this tab is open: a key, who is looked at, and a guest's session.
export const state = { key: givenKey(), user: '', session: `demo-${random()}`, did: [], why: false, real: false };

export { words };

/** A word with its article: a product, an account. */
export const withArticle = (name) => `${/^[aeiou]/i.test(words[name]) ? 'an' : 'a'} ${words[name]}`;

/** As a sentence begins. */
export const begin = (text) => text.charAt(0).toUpperCase() + text.slice(1);

let known = ''; // the shop's currency, as the server told

export const currency = () => known;

/** An amount, with its currency where one is known. */
export const money = (value, unit = '') => {
  if (value === null || value === undefined) return '–';
  const digits = { minimumFractionDigits: 2, maximumFractionDigits: 2 };
  const plain = () => new Intl.NumberFormat(language, digits).format(value);
  try {
    return unit ? new Intl.NumberFormat(language, { style: 'currency', currency: unit }).format(value) : plain();
  } catch {
    return `${plain()} ${unit}`;
  }
};

const notice = document.getElementById('notice');
const form = document.getElementById('key');

let told = 0;

/** Say in one sentence what is wrong; with no error, that nothing is any more. */
export const tell = async (error) => {
  const turn = ++told;
  if (!error) {
    notice.hidden = true;
    return;
  }
  const reply = error.reply;
  const said = reply && !reply.bodyUsed ? (await reply.json().catch(() => null))?.error : error.said;
  if (turn !== told) return; // all is well again, or something else is wrong
  if (reply) error.said = said;
  const words = sentence(reply, said);
  if (notice.hidden || notice.textContent !== words) notice.textContent = words; // said aloud once, not at every look
  notice.hidden = false;
  if (reply?.status !== 401 && reply?.status !== 403) return;
  const asking = !form.hidden;
  form.hidden = false;
  if (reply.status === 401) {
    document.getElementById('main').hidden = true; // there is nothing to show without a key
    if (!asking) document.getElementById('key-text').focus();
  }
};

const sentence = (reply, said) => {
  if (!reply) return say('The server does not answer: is recsys serve running?');
  if (reply.status === 401 && state.key) return say('The server does not know this key (any more): enter another one.');
  if (reply.status === 401) return say('This needs a key: open the link that recsys serve printed, or enter a key.');
  if (reply.status === 403) {
    return `${said?.message ?? say('This key may not do that.')} ${say('The storefront needs serve and ingest, the dashboard view, its search people.')}`;
  }
  if (reply.status === 429) return say`Too many requests: wait ${reply.headers.get('retry-after') ?? 1} s, then go on.`;
  return said ? `${said.message} ${said.hint}` : say`The server answers ${reply.status}; its log says more.`;
};

/** The answer of a route, as JSON or text.
 * Throws an Error with `reply` when the server refuses, and one without when it cannot be reached. */
export const ask = async (path, { body, method, text = false } = {}) => {
  const headers = state.key ? { 'X-API-Key': state.key } : {};
  if (body) headers['Content-Type'] = 'application/json';
  const reply = await fetch(path, {
    method: method ?? (body ? 'POST' : 'GET'),
    headers,
    body: body && JSON.stringify(body),
    cache: 'no-store',
  });
  if (!reply.ok) throw Object.assign(new Error(`${path}: ${reply.status}`), { reply });
  return text ? reply.text() : reply.json();
};

form.addEventListener('submit', (event) => {
  event.preventDefault();
  const field = document.getElementById('key-text');
  state.key = field.value.trim();
  sessionStorage.setItem('recsys-key', state.key);
  field.value = '';
  route();
});

const TITLES = { '': say('Storefront'), dashboard: say('Dashboard'), find: say('Find'), placements: say('Placements') };
let leave = () => {};

function route() {
  leave();
  const [, view = '', id = ''] = location.hash.split('/');
  const main = document.getElementById('main');
  main.replaceChildren();
  main.hidden = false;
  form.hidden = true;
  tell(null);
  const shown = view in TITLES ? view : '';
  for (const link of document.querySelectorAll('.top nav a')) {
    if (link.getAttribute('href') === `#/${shown}`) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  document.title = `${TITLES[shown]} · recsys`;
  let named = '';
  try {
    named = decodeURIComponent(id);
  } catch {
    named = id; // a % that somebody typed
  }
  if (view === 'dashboard') leave = dashboard(main);
  else if (view === 'find') leave = finder(main, named);
  else if (view === 'placements') leave = placements(main, named);
  else leave = storefront(main, view === 'item' ? named : '');
}

addEventListener('hashchange', () => {
  if (location.hash.startsWith('#key=')) state.key = givenKey();
  if (location.hash && !location.hash.startsWith('#/')) return; // the link that skips to the content
  route();
  scrollTo(0, 0);
  document.getElementById('main').focus({ preventScroll: true });
});

sayStatic(document.body);
// Prices are shown without a currency rather than late.
const soon = new Promise((go) => setTimeout(go, 500));
Promise.race([ask('ready').then((told) => { known = told.currency; own(told.words); }, () => {}), soon]).then(route);
