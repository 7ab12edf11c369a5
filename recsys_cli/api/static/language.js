/* The page's words in the language that the server chose by Accept-Language: `german.js` holds the only other one.
 *
 * Texts stand in the code in English; a dictionary has them by what they are without their values: `{}` for each.
 */

import { german, germanServer, germanWords } from './german.js';

/** As in <html lang>. */
export const language = document.documentElement.lang === 'de' ? 'de' : 'en';
const texts = language === 'de' ? german : {};
const told = language === 'de' ? germanServer : {};

const ENGLISH = {
  product: 'product', products: 'products', customer: 'customer', customers: 'customers', visitor: 'visitor', visitors: 'visitors',
  order: 'order', orders: 'orders', bought: 'bought', viewed: 'viewed', buy: 'buy', shop: 'shop',
};

/** What the shop calls things: `words.products` are books in a library. */
export const words = { ...ENGLISH, ...(language === 'de' ? germanWords : {}) };
let shops = ENGLISH; // as the server has them in its sentences

/** Take the shop's own words from the server; those that it has not chosen are the language's. */
export const own = (told) => {
  shops = told;
  for (const [name, word] of Object.entries(told)) if (word !== ENGLISH[name]) words[name] = word;
};

const filled = (text, values) => text.replace(/\{(\w*)\}/g, (_, name) => {
  if (name === '') return values.shift();
  return /^\d+$/.test(name) ? values[name] : words[name];
});

/** A text of the page: say('Find'), or as a tag say`Find ${id}`. */
export const say = (text, ...values) => {
  if (typeof text === 'string') return text in texts ? filled(texts[text], []) : text;
  const key = text.join('{}');
  return key in texts ? filled(texts[key], [...values]) : String.raw({ raw: text }, ...values);
};

/** Some of something: counted(2, 'days'). */
export const counted = (number, word) => {
  const key = `{} ${word}`;
  return key in texts ? filled(texts[key], [number]) : `${number} ${word}`;
};

let patterns; // of sentences of the server, made when the first is heard

/** A sentence of the server in the page's language; as it is where the dictionary does not have it. */
export const heard = (text) => {
  if (language === 'en' || !text) return text;
  if (text in told) return told[text];
  patterns ??= Object.keys(told).filter((key) => key.includes('{')).map((key) => {
    const word = (name) => `(?:${[shops[name], begin(shops[name])].map(literal).join('|')})`;
    const source = literal(key).replace(/\\\{(\w*)\\\}/g, (_, name) => (name ? word(name) : '(.+?)'));
    return { key, match: new RegExp(`^${source}$`, 's') };
  });
  for (const { key, match } of patterns) {
    const found = match.exec(text);
    if (!found) continue;
    const spoken = filled(told[key], found.slice(1).map((part) => told[part] ?? part));
    return spoken.endsWith('.') ? begin(spoken) : spoken;
  }
  return text;
};

const literal = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');

const begin = (text) => text.charAt(0).toUpperCase() + text.slice(1);

/** Put what stands in the page's file into its language. */
export const sayStatic = (root) => {
  if (language === 'en') return;
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const text = node.data.trim();
    if (text in texts) node.data = node.data.replace(text, say(text));
  }
  for (const element of root.querySelectorAll('[aria-label]')) element.setAttribute('aria-label', say(element.getAttribute('aria-label')));
};
