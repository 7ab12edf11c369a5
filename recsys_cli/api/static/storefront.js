/* The demo shop: shelves from the carousel that shops embed, and buttons whose effect on the list is seen at once. */

import { heard, language, say } from './language.js';
import { ask, begin, currency, make, money, state, tell, withArticle, words } from './page.js';

const PATIENCE = 1500; // ms in which an event counts, or leaves the list as it is
const SHELF = 12;
const PAGE = 200; // items asked for at a time by the search
const DEPTH = 2000;
const PAST = 4; // events shown of a customer

let catalogue = null; // for the search; filled when it is first used

/** Show the shop, or one item of it, in `main`. Returns what ends it. */
export function storefront(main, item) {
  const view = new View(main);
  if (item) view.product(item);
  else view.home();
  return () => view.leave();
}

class View {
  constructor(main) {
    this.main = main;
    this.shelves = [];
    this.gone = false;
    main.addEventListener('recsys-dismiss', this.dismissed);
  }

  // The carousel has taken the card away; without consent it tells nobody, so that it is up to this page.
  dismissed = (event) => {
    const { item } = event.detail;
    this.did('not interested in', item);
    if (state.real) this.report('dislike', item).catch(tell);
  };

  leave() {
    this.gone = true;
    this.main.removeEventListener('recsys-dismiss', this.dismissed);
    for (const shelf of this.shelves) shelf.remove();
  }

  home() {
    const lead = make('p', {
      class: 'lead',
      text: say`A demo of what your ${words.customers} would see, from the version that is served now. Look at ${withArticle('product')}, press a button, and watch “For you” change.`,
    });
    this.main.append(make('h1', { text: say('Storefront') }), lead, this.controls(), this.forYou());
    this.shelf('trending');
    this.shelf('new');
    this.shelf('popular', { title: words.bought === 'bought' ? say('Best sellers') : say`Most ${words.bought}`, endless: '' });
  }

  // -- who looks, what is searched for

  controls() {
    const field = make('input', { id: 'who', value: state.user, placeholder: say('guest'), autocomplete: 'off', spellcheck: 'false' });
    const who = make(
      'form',
      { class: 'field', onsubmit: (event) => {
        event.preventDefault();
        state.user = field.value.trim();
        state.did = [];
        this.restart();
      } },
      make('label', { for: 'who', text: begin(words.customer) }),
      make('div', { class: 'joined' }, field, make('button', { text: say('Show') })),
    );
    const why = make('input', { type: 'checkbox', id: 'why', checked: state.why, onchange: (event) => {
      state.why = event.target.checked;
      for (const shelf of this.shelves) {
        shelf.options.why = state.why;
        shelf.refresh();
      }
    } });
    const toggle = make('label', { class: 'toggle', for: 'why' }, why, make('span', { text: say('Show why') }));
    return make('div', { class: 'controls' }, who, this.search(), make('div', {}, toggle, real()));
  }

  search() {
    const results = make('ul', { class: 'results', id: 'results', role: 'listbox', 'aria-label': begin(words.products), hidden: true });
    const field = make('input', { id: 'search', type: 'search', placeholder: say('Title, category, brand or id'), autocomplete: 'off', role: 'combobox', 'aria-expanded': 'false', 'aria-controls': 'results', 'aria-autocomplete': 'list' });
    const open = (shown) => {
      results.hidden = !shown;
      field.setAttribute('aria-expanded', String(shown));
      if (!shown) choose(-1);
    };
    let chosen = -1;
    const choose = (place) => {
      const options = [...results.querySelectorAll('[role=option]')];
      chosen = options.length && place >= 0 ? place % options.length : -1;
      options.forEach((option, n) => option.setAttribute('aria-selected', String(n === chosen)));
      if (chosen < 0) field.removeAttribute('aria-activedescendant');
      else field.setAttribute('aria-activedescendant', options[chosen].id);
    };
    const look = async () => {
      const words = field.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
      open(words.length > 0);
      if (!words.length) return;
      try {
        catalogue ??= wholeCatalogue();
        const items = await catalogue;
        if (field.value.trim().toLowerCase().split(/\s+/).filter(Boolean).join() !== words.join()) return;
        const found = items.filter(({ text }) => words.every((word) => text.includes(word))).slice(0, 8);
        results.replaceChildren(...found.map(({ item }, n) =>
          make('li', { role: 'option', id: `found-${n}`, 'aria-selected': 'false' }, make('a', { href: link(item), tabindex: '-1' },
            make('span', { text: item.title || item.item_id }), make('small', { text: item.category || item.item_id })))));
        if (!found.length) results.append(make('li', { role: 'option', id: 'found-none', 'aria-selected': 'false', text: say('Nothing found. Enter opens what you typed as an item id.') }));
        choose(-1);
      } catch (error) {
        catalogue = null;
        open(false);
        tell(error);
      }
    };
    field.addEventListener('input', look);
    field.addEventListener('focus', look);
    const box = make(
      'form',
      { class: 'field search', role: 'search', onsubmit: (event) => {
        event.preventDefault();
        const typed = field.value.trim();
        const first = results.querySelectorAll('a')[Math.max(chosen, 0)];
        if (typed) location.hash = first && !results.hidden ? first.getAttribute('href') : link({ item_id: typed });
      }, onkeydown: (event) => {
        const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
        if (event.key === 'Escape') open(false);
        if (!step || results.hidden) return;
        event.preventDefault();
        const count = results.querySelectorAll('[role=option]').length;
        choose(chosen < 0 ? (step > 0 ? 0 : count - 1) : chosen + step + count);
      }, onfocusout: (event) => {
        if (!box.contains(event.relatedTarget)) open(false);
      } },
      make('label', { for: 'search', text: say`Find ${withArticle('product')}` }),
      field,
      results,
    );
    // A press on a result must not take the focus from the field, which would close the list before the click.
    results.addEventListener('mousedown', (event) => event.preventDefault());
    return box;
  }

  restart() {
    this.leave();
    this.main.replaceChildren();
    const again = new View(this.main);
    Object.assign(this, { leave: () => again.leave() });
    again.home();
  }

  // -- shelves

  shelf(kind, options = {}, into = this.main) {
    const place = make('div', { class: 'shelf', 'data-shelf': kind });
    into.append(place);
    const shelf = window.recsys.mount(place, {
      for: kind,
      k: SHELF,
      lang: language,
      say: heard,
      key: state.key,
      currency: currency(),
      dismiss: say('Not interested'),
      why: state.why,
      href: link,
      onerror: (error) => this.gone || tell(error),
      ...options,
    });
    this.shelves.push(shelf);
    return shelf;
  }

  forYou() {
    const panel = make('section', { class: 'panel for-you', 'aria-label': say('For you') });
    this.counted = make('p', { class: 'counted', role: 'status' });
    this.whose = make('p', { class: 'whose' }, ...(state.user ? [`${begin(words.customer)} `, make('strong', { text: state.user })] : [say('A guest of this tab.')]));
    const place = make('div', { class: 'list' });
    this.past = make('aside', { class: 'past', 'aria-label': say('What they did') });
    panel.append(this.whose, this.counted, make('div', { class: 'beside-list' }, this.past, place));
    const items = !state.real && tried().length ? tried() : undefined;
    this.mine = this.shelf('recommend', { ...person(), items, title: say('For you'), consent: undefined, onerror: (error) => this.failed(error) }, place);
    this.history();
    return panel;
  }

  /** A list that did not come says so in its place, too. */
  failed(error) {
    if (this.gone) return;
    tell(error);
    if (error.reply) return; // a refusal says what is missing, and asks for it
    this.counted.replaceChildren(say('No list: the server did not answer.'), ' ',
      make('button', { type: 'button', text: say('Try again'), onclick: () => { tell(null); this.restart(); } }));
  }

  /** What is known of whoever looks, beside the list that is made from it. */
  async history() {
    const did = state.did.map(({ what, title, real: told }) => ({ what, title, when: told ? say('just now') : say('tried out') }));
    if (!state.user) {
      this.known(did, say`Nothing yet: look at ${withArticle('product')} and press a button.`);
      return;
    }
    this.known(did, say('Asking the server…'));
    try {
      const { history } = await ask(`users/${part(state.user)}?n=${PAST}`);
      const before = history.map((event) => ({ what: event.event_type, title: event.title || event.item_id, when: day(event.ts) }));
      this.known([...did, ...before], '');
      this.whose.append(say(', from everything known of them up to the last click.'));
    } catch (error) {
      if (error.reply?.status === 404) {
        this.known(did, say('Nothing.'));
        this.whose.append(say(' is not known, or may not be used: what a stranger sees is shown.'));
      } else {
        this.known(did, error.reply ? say('This key may not see it.') : say('The server did not say.'));
      }
    }
  }

  known(events, none) {
    if (this.gone) return;
    const lines = events.slice(0, PAST).map(({ what, title, when }) =>
      make('li', {}, make('span', { class: 'what', text: heard(what) }), make('span', { text: title }), make('small', { text: when })));
    this.past.replaceChildren(make('h2', { text: say('What they did') }),
      lines.length ? make('ol', {}, lines) : make('p', { class: 'small', text: none }));
  }

  did(what, item) {
    state.did = [{ what, title: item.title || item.item_id, id: item.item_id, real: state.real }, ...state.did].slice(0, PAST);
    this.history();
  }

  /** Report an event, and ask for the list until it has changed. */
  async act(kind, item) {
    let before = ids(this.mine.answer);
    const started = performance.now();
    if (!state.real) {
      this.did(kind, item);
      this.mine.options.items = tried();
      this.told(say('Tried out, nothing reported'), before, ids(await this.mine.refresh()), started);
      return;
    }
    if (this.mine.options.items) { // what was only tried out
      this.mine.options.items = undefined;
      before = ids(await this.mine.refresh());
    }
    this.counted.textContent = say('Reported…');
    this.counted.parentElement.scrollIntoView({ block: 'nearest' }); // on a phone the list is further down
    try {
      await this.report(kind, item);
      this.did(kind, item);
      tell(null);
    } catch (error) {
      this.counted.textContent = '';
      tell(error);
      return;
    }
    let now = before;
    while (now.join() === before.join() && performance.now() - started < PATIENCE && !this.gone) {
      now = ids(await this.mine.refresh());
      if (now.join() === before.join()) await new Promise((go) => setTimeout(go, 80));
    }
    const what = { view: say('View'), cart: say('Cart'), purchase: say('Purchase') }[kind];
    this.told(what, before, now, started);
  }

  report(kind, item) {
    return ask('events', { body: { ...event(), item_id: item.item_id, event_type: kind } });
  }

  /** Say what became of the list, and mark what is new in it. */
  told(what, before, now, started) {
    const took = (performance.now() - started) / 1000;
    const seconds = took.toFixed(took < 0.1 ? 2 : 1);
    const fresh = now.filter((id) => !before.includes(id));
    const moved = now.filter((id, place) => before.includes(id) && before[place] !== id).length;
    const did = state.real ? say`${what} is on disk` : what;
    this.counted.textContent = now.join() === before.join()
      ? say`${did}. It leaves this list as it was.`
      : say`${state.real ? say`${what} counted after ${seconds} s` : what}: ${fresh.length} new, ${moved} moved.`;
    for (const card of this.mine.list.children) {
      if (fresh.includes(card.dataset.item)) card.querySelector('.pic').part.add('fresh');
    }
  }

  // -- one product

  async product(id) {
    const back = make('a', { class: 'back', href: '#/', text: say('← All shelves') });
    const place = make('div', { class: 'product' });
    const waiting = make('p', { class: 'lead', role: 'status', text: say('Asking the server…') });
    this.main.append(back, place);
    place.append(waiting);
    let item;
    try {
      item = await ask(`items/${part(id)}`);
      waiting.remove();
    } catch (error) {
      if (this.gone) return;
      waiting.remove();
      if (error.reply?.status === 404) {
        place.append(make('h1', { text: say`No such ${words.product}` }), make('p', { text: say`There is no item “${id}” in the catalogue.` }));
      } else {
        tell(error); // a server that is down has not said that there is none
        place.append(make('h1', { text: say('Not known') }), make('p', { text: say`The server did not say what “${id}” is. Load the page again.` }));
      }
      return;
    }
    if (this.gone) return;
    const title = item.title || item.item_id;
    document.title = `${title} · recsys`;
    const facts = [[say('Category'), item.category], [say('Brand'), item.brand], [say('Item'), item.item_id]].filter(([, value]) => value);
    const button = (kind, text, primary) =>
      make('button', { type: 'button', class: primary ? 'primary' : '', 'data-event': kind, text, onclick: () => this.act(kind, item) });
    const whose = state.user ? `${words.customer} ${state.user}` : say('this guest');
    place.append(
      picture(item, title),
      make('div', { class: 'about' },
        make('h1', { text: title }),
        make('p', { class: 'cost', text: typeof item.price === 'number' ? money(item.price, currency()) : '' }),
        item.description ? make('p', { class: 'description', text: item.description }) : null,
        make('dl', {}, facts.map(([name, value]) => make('div', {}, make('dt', { text: name }), make('dd', { text: value })))),
        item.availability === false || item.retired ? make('p', { class: 'out', text: say('Not for sale now: it is in no list.') }) : null,
        make('div', { class: 'buttons' }, button('view', say('View')), button('cart', say('Add to cart')), button('purchase', begin(words.buy), true)),
        real(),
        make('p', { class: 'small', text: say`While this is off, the buttons show what the list would be with this ${words.product} in the basket of ${whose}, and report nothing.` }),
      ),
    );
    this.main.append(this.forYou());
    this.shelf('bought-together', { item: id, title: say`Often ${words.bought} together` });
    this.shelf('similar-items', { item: id });
  }
}

/** The switch without which nothing is reported. */
function real() {
  const box = make('input', { type: 'checkbox', class: 'real', checked: state.real, onchange: (event) => { state.real = event.target.checked; } });
  return make('label', { class: 'toggle' }, box, make('span', { text: say('Report real events') }));
}

const link = (item) => `#/item/${encodeURIComponent(item.item_id)}`;
const person = () => (state.user ? { user: state.user } : { session: state.session });
const event = () => (state.user ? { user_id: state.user } : { session_id: state.session });
const ids = (answer) => (answer ? answer.items.map((item) => item.item_id) : []);
const part = (text) => encodeURIComponent(text).replaceAll('.', '%2E');
const day = (ts) => new Date(ts * 1000).toISOString().slice(0, 10);
const tried = () => [...new Set(state.did.filter((one) => one.what !== 'not interested in').map((one) => one.id))];

function picture(item, title) {
  const frame = make('div', { class: 'picture', text: [...title][0]?.toUpperCase() });
  let source;
  try {
    source = item.img_url && new URL(item.img_url.replace(/^\/(?=sample-images\/)/, ''), document.baseURI);
  } catch {
    return frame;
  }
  if (source && /^https?:$/.test(source.protocol)) {
    const image = make('img', { alt: title, src: source.href });
    image.addEventListener('error', () => image.remove());
    frame.append(image);
  }
  return frame;
}

/** What can be searched: the newest items, as many as the server shows a page of. */
async function wholeCatalogue() {
  const found = [];
  for (let offset = 0; offset <= DEPTH; offset += PAGE) {
    const { items } = await ask(`new?k=${PAGE}&offset=${offset}`);
    found.push(...items);
    if (items.length < PAGE) break;
  }
  return found.map((item) => ({
    item,
    text: [item.item_id, item.title, item.category, item.brand].filter(Boolean).join(' ').toLowerCase(),
  }));
}
