/* A customer or a product, by the id that the owner types: history beside lists, sources and reasons, and why not. */

import { heard, say } from './language.js';
import { ask, begin, currency, make, money, tell, withArticle, words } from './page.js';

const LIST = 10;
const part = (text) => encodeURIComponent(text).replaceAll('.', '%2E');
const day = (ts) => new Date(ts * 1000).toISOString().slice(0, 10);
const name = (item) => item.title || item.item_id;
const link = (id) => `#/find/${encodeURIComponent(id)}`;

/** Show the search, and what is known of `id`, in `main`. Returns what ends it. */
export function finder(main, id) {
  let gone = false;
  const field = make('input', { id: 'find-id', value: id, autocomplete: 'off', spellcheck: 'false', required: true });
  const form = make('form', { class: 'field find', role: 'search', onsubmit: (event) => {
    event.preventDefault();
    location.hash = link(field.value.trim());
  } }, make('label', { for: 'find-id', text: say`Id of ${withArticle('customer')} or ${withArticle('product')}` }),
  make('div', { class: 'joined' }, field, make('button', { class: 'primary', text: say('Find') })));
  const place = make('div', { class: 'stack', 'aria-live': 'polite' });
  main.append(make('h1', { text: say('Find') }), form, place);
  if (!id) {
    place.append(make('p', { class: 'lead', text: say`See what ${withArticle('customer')} did beside the list they get now, or ${withArticle('product')} and where it stands.` }));
    return () => {};
  }
  const put = (...nodes) => { if (!gone) place.append(...nodes.filter(Boolean)); };
  place.append(make('p', { class: 'lead', text: say('Asking the server…') }));
  look(id, put).then((found) => {
    if (gone) return;
    place.querySelector('.lead')?.remove();
    if (!found) put(make('p', { class: 'lead', text: say`Neither ${withArticle('customer')} with a history nor ${withArticle('product')} has the id “${id}”. Ids are as in your files.` }));
  }, (error) => {
    if (gone) return;
    place.querySelector('.lead').textContent = say('The server did not say.');
    tell(error);
  });
  return () => { gone = true; };
}

/** The answer, or null where there is none of it. */
async function known(path) {
  try {
    return await ask(path);
  } catch (error) {
    if (error.reply?.status === 404) return null;
    throw error;
  }
}

async function look(id, put) {
  const [person, item] = await Promise.all([known(`users/${part(id)}?n=20`), known(`items/${part(id)}`)]);
  if (person) await customer(id, person, put);
  if (item) await product(id, item, put);
  return person || item;
}

async function customer(id, person, put) {
  const list = await ask(`recommend?user_id=${encodeURIComponent(id)}&k=${LIST}&explain=true`);
  put(make('h2', { class: 'found', text: `${begin(words.customer)} ${id}` }), make('div', { class: 'tiles beside' },
    table(say('What they did last'), person.history, [
      [begin(words.product), product_, true], [say('Event'), (e) => `${heard(e.event_type)}${e.qty > 1 ? ` × ${e.qty}` : ''}`, true], [say('Day'), (e) => day(e.ts), true],
    ]),
    table(say`Their list now, from ${list.version}`, list.items, [
      [begin(words.product), product_, true], [say('From'), (i) => heard(i.source) + (i.fallback ? say(' (fallback)') : ''), true], [say('Why'), (i) => heard(i.reason ?? ''), true],
    ])), whyNot(id));
}

const product_ = (item) => make('a', { href: link(item.item_id), text: name(item) });

/** A field for an item, and the server's word on where it stands in this customer's list. */
function whyNot(user) {
  const field = make('input', { id: 'why-item', autocomplete: 'off', spellcheck: 'false', required: true });
  const said = make('div', { role: 'status' });
  const form = make('form', { class: 'field find', onsubmit: async (event) => {
    event.preventDefault();
    const item = field.value.trim();
    try {
      const found = await ask(`why?user_id=${encodeURIComponent(user)}&item_id=${encodeURIComponent(item)}&k=${LIST}`);
      said.replaceChildren(...(found.shown
        ? [make('p', { text: say`${item} is in the list, at place ${found.place}, from ${heard(found.source)}. ${heard(found.reason)}` })]
        : [make('p', { text: say`${item} is not in the list:` }), make('ul', {}, found.why_not.map((text) => make('li', { text: heard(text) })))]));
      tell(null);
    } catch (error) {
      said.replaceChildren(error.reply?.status === 404 ? make('p', { text: say`There is no ${words.product} with the id “${item}”.` }) : '');
      tell(error.reply?.status === 404 ? null : error);
    }
  } }, make('label', { for: 'why-item', text: say`Why is ${withArticle('product')} not in it? Its id` }),
  make('div', { class: 'joined' }, field, make('button', { text: say('Ask') })));
  return card(say('Why not?'), form, said);
}

async function product(id, item, put) {
  const query = `item_id=${encodeURIComponent(id)}&k=6`;
  const [like, together] = await Promise.all([known(`similar-items?${query}&explain=true`), known(`bought-together?${query}&explain=true`)]);
  const state = item.retired ? say('has left the catalogue') : item.availability === false ? say('sold out') : say('for sale');
  const facts = [[say('Id'), id], [say('Category'), item.category], [say('Brand'), item.brand], [say('Price'), typeof item.price === 'number' ? money(item.price, currency()) : null], [say('State'), state]];
  const columns = [[begin(words.product), product_, true], [say('From'), (i) => heard(i.source) + (i.fallback ? say(' (fallback)') : ''), true], [say('Why'), (i) => heard(i.reason ?? ''), true]];
  put(make('h2', { class: 'found', text: name(item) }),
    make('dl', {}, facts.filter(([, v]) => v !== null && v !== undefined).map(([k, v]) => make('div', {}, make('dt', { text: k }), make('dd', { text: v })))),
    make('p', {}, make('a', { href: `#/item/${encodeURIComponent(id)}`, text: say('See it in the storefront') })),
    make('div', { class: 'tiles beside' },
      like && table(say('Shown as like it'), like.items, columns), together && table(say`Shown as ${words.bought} with it`, together.items, columns)));
}

export const card = (title, ...children) =>
  make('section', { class: 'tile', 'aria-label': title }, make('header', {}, make('h2', { text: title })), ...children);

/** A table that scrolls in its box; columns are [heading, cell of a row, whether it is text]. */
export function table(title, rows, columns) {
  const head = make('tr', {}, columns.map(([heading, , text]) => make('th', { scope: 'col', class: text ? 'text' : null, text: heading })));
  const body = rows.map((row) => make('tr', {}, columns.map(([, cell, text]) => {
    const slot = make('td', { class: text ? 'text' : null });
    slot.append(cell(row));
    return slot;
  })));
  if (!rows.length) return card(title, make('p', { class: 'sub', text: say('Nothing.') }));
  return card(title, make('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': say`${title}, table` },
    make('table', {}, make('thead', {}, head), make('tbody', {}, body))));
}
