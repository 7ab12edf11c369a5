/* The carousel of recsys. A shop puts this into its page, and the list appears in that place:
 *
 *   <script src="http://127.0.0.1:8000/widget.js" data-for="popular" data-k="8" defer></script>
 *
 * What it stores: nothing, ever; no cookie, no localStorage. What it sends: the question for the list, without cookies.
 * Only with data-consent="session" or "full" does it report what was really seen and clicked (POST /events), and with
 * data-view how long the page's own product was looked at.
 * Titles, ids and addresses come from catalogues, which anybody may have written: they go into the page as text and as
 * checked attributes, never as markup.
 */
(() => {
  'use strict';

  const WORDS = {
    en: {
      recommend: 'Recommended for you',
      'similar-items': 'Similar items',
      'bought-together': 'Often bought together',
      session: 'Picked from your visit',
      popular: 'Popular now',
      trending: 'Trending',
      new: 'New in',
      previous: 'Previous',
      next: 'Next',
    },
    de: {
      recommend: 'Für Sie empfohlen',
      'similar-items': 'Ähnliche Artikel',
      'bought-together': 'Oft zusammen gekauft',
      session: 'Passend zu Ihrem Besuch',
      popular: 'Gerade beliebt',
      trending: 'Im Trend',
      new: 'Neu eingetroffen',
      previous: 'Zurück',
      next: 'Weiter',
    },
  };
  const KINDS = ['recommend', 'similar-items', 'bought-together', 'session', 'popular', 'trending', 'new'];
  const NEEDS = { 'similar-items': 'item', 'bought-together': 'item', session: 'session' };
  const CONSENTS = ['none', 'session', 'full'];
  const KNOWN = [
    'for', 'user', 'session', 'item', 'items', 'category', 'exclude', 'k', 'link', 'title', 'title-fallback', 'previous',
    'next', 'lang', 'currency', 'consent', 'key', 'token', 'into', 'dismiss', 'endless', 'duplicates', 'placement',
    'view',
  ];
  const MOST = 200; // items in a list
  const SPARE = 30; // items asked for beyond what is shown, where other carousels of the page may show the same
  const DEEPEST = 2000; // places that the server looks down
  const PATIENCE = 8000; // ms until a server that does not answer counts as down
  const SEEN_SHARE = 0.5; // of a card, for
  const SEEN_MS = 1000; // so long: then it was really seen
  const RANK_PATIENCE = 400; // ms for which a grid waits for its order
  const LONGEST_VIEW = 86_400_000; // ms that the server takes for a view
  const AT_ONCE = 50; // events in one request: what outlives a page may have 64 KB

  const CSS = `
    :host { display: block; }
    .root { all: initial; display: block; color-scheme: inherit; direction: inherit; container-type: inline-size;
      font-family: var(--recsys-font, inherit); color: var(--recsys-text, inherit); font-size: 1rem; line-height: 1.4;
      --card: var(--recsys-card, 11rem); --gap: var(--recsys-gap, 1rem); --radius: var(--recsys-radius, .75rem);
      --line: var(--recsys-line, color-mix(in srgb, currentColor 16%, transparent));
      --calm: var(--recsys-surface, color-mix(in srgb, currentColor 6%, transparent));
      --muted: var(--recsys-muted, color-mix(in srgb, currentColor 74%, transparent));
      --accent: var(--recsys-accent, light-dark(#0f6b5c, #6fd3bf)); }
    * { box-sizing: border-box; }
    header { display: flex; align-items: center; justify-content: space-between; gap: 1rem; min-height: 2.75rem; }
    h2 { margin: 0; font: inherit; font-size: var(--recsys-heading, 1.25rem); font-weight: 650; letter-spacing: -.01em;
      overflow-wrap: anywhere; }
    nav { display: flex; gap: .5rem; flex: none; }
    nav[hidden] { display: flex; visibility: hidden; }
    button { all: unset; box-sizing: border-box; width: 2.5rem; height: 2.5rem; display: grid; place-items: center;
      border: 1px solid var(--line); border-radius: 50%; cursor: pointer; }
    button::before { content: ''; width: .55rem; height: .55rem; border: solid currentColor; border-width: 2px 0 0 2px;
      transform: translateX(.12rem) rotate(-45deg); }
    button.next::before { transform: translateX(-.12rem) rotate(135deg); }
    .root:dir(rtl) nav { flex-direction: row-reverse; }
    button:hover { background: var(--calm); }
    button[aria-disabled=true] { opacity: .35; cursor: default; }
    :focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
    ul { list-style: none; display: flex; gap: var(--gap); margin: 0; padding: .4rem .25rem .75rem; overflow-x: auto;
      margin-inline: -.25rem; scroll-snap-type: x proximity; scroll-padding: .25rem; overscroll-behavior-x: contain;
      scrollbar-width: thin; scrollbar-color: var(--line) transparent; }
    li { flex: 0 0 var(--card); width: var(--card); scroll-snap-align: start; min-width: 0; }
    @container (max-width: 26rem) { li { flex-basis: min(var(--card), 42cqw); width: min(var(--card), 42cqw); } }
    .card { display: flex; flex-direction: column; height: 100%; color: inherit; text-decoration: none;
      border-radius: var(--radius); }
    .pic { position: relative; display: grid; place-items: center; aspect-ratio: 1; overflow: hidden;
      border-radius: var(--radius); background: var(--calm); font-size: 2.5rem; font-weight: 600; color: var(--muted); }
    .pic img { position: absolute; inset: 0; width: 100%; height: 100%; object-fit: cover; opacity: 0;
      transition: opacity .2s, transform .3s; }
    .pic img.here { opacity: 1; }
    a:hover img.here { transform: scale(1.03); }
    a:hover .title { text-decoration: underline; text-underline-offset: .15em; }
    .title { margin-top: .6rem; height: 2.6em; line-height: 1.3; font-size: .9375rem; overflow: hidden;
      overflow-wrap: anywhere; display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 2; }
    .price { margin-top: .25rem; height: 1.4em; font-size: .9375rem; font-weight: 650;
      font-variant-numeric: tabular-nums; }
    .why { margin-top: .4rem; padding: .45rem .6rem; border-radius: .5rem; background: var(--calm); font-size: .8125rem;
      line-height: 1.35; overflow-wrap: anywhere; }
    .why b { display: block; font-weight: 650; color: var(--accent); }
    li { position: relative; }
    button.dismiss { position: absolute; inset: .4rem .4rem auto auto; width: 2rem; height: 2rem; z-index: 1;
      background: Canvas; color: CanvasText; font-size: 1.1rem; line-height: 1; }
    button.dismiss::before { all: unset; content: '×'; }
    .waiting .title, .waiting .price { border-radius: .25rem; background: var(--calm); }
    .waiting .price { width: 40%; }
    @media (prefers-reduced-motion: no-preference) {
      ul { scroll-behavior: smooth; }
      .waiting .card { animation: wait 1.6s ease-in-out infinite alternate; }
      @keyframes wait { to { opacity: .5; } }
    }
    @media (prefers-reduced-motion: reduce) { .pic img { transition: none; } a:hover img.here { transform: none; } }
    @media (forced-colors: active) { button, .pic { border: 1px solid; } }`;

  const make = (tag, name, text) => {
    const element = document.createElement(tag);
    if (name) element.className = name;
    if (text !== undefined) element.textContent = text;
    return element;
  };

  /** The address when a browser may follow it harmlessly, else null: javascript: and data: are not among them. */
  const safe = (text, base) => {
    try {
      const url = new URL(text, base);
      return url.protocol === 'https:' || url.protocol === 'http:' ? url.href : null;
    } catch {
      return null;
    }
  };

  const price = (value, currency, lang) => {
    if (typeof value !== 'number') return '';
    const digits = { minimumFractionDigits: 2, maximumFractionDigits: 2 };
    try {
      return new Intl.NumberFormat(lang, currency ? { style: 'currency', currency } : digits).format(value);
    } catch {
      return value.toFixed(2); // no such currency or language
    }
  };

  const warn = (text) => console.warn(`recsys: ${text}`);

  /** How many letters have to be put in, left out or changed. */
  const distance = (a, b) => {
    let row = Array.from({ length: b.length + 1 }, (_, n) => n);
    [...a].forEach((letter, i) => {
      const next = [i + 1];
      [...b].forEach((other, j) => next.push(Math.min(row[j] + (letter !== other), row[j + 1] + 1, next[j] + 1)));
      row = next;
    });
    return row[b.length];
  };

  /** Attributes that are nearly ours, as [what is written, what was meant]; those of others are left in peace. */
  const misspelt = (element) => {
    const found = [];
    const bare = (text) => text.replace(/[-_]/g, '');
    const sorted = (text) => [...text].sort().join('');
    for (const { name } of element.attributes) {
      if (!name.startsWith('data-') || KNOWN.includes(name.slice(5))) continue;
      const written = bare(name.slice(5));
      const near = (known) => {
        const wanted = bare(known);
        // Short words are near to everything, but for their own letters in another order (fro) and user-id.
        if (sorted(wanted) === sorted(written) || written === `${wanted}id`) return true;
        return wanted.length > 1 && distance(written, wanted) <= (wanted.length > 4 ? 2 : 1);
      };
      const meant = KNOWN.find(near);
      if (meant) found.push([name, `data-${meant}`]);
    }
    return found;
  };

  class Carousel {
    /** `options` are those of the data- attributes: {for: 'recommend', user: '13085', titleFallback: 'Popular'}.
     * From script also: why (show source and reason), href (the address for an item), onerror (told of failures),
     * say (the server's words in another language). */
    constructor(anchor, inside, base, options) {
      this.anchor = anchor;
      this.inside = inside;
      this.base = base;
      this.options = options;
      this.answer = null;
      this.whole = []; // what was answered, before others of the page had their share
      this.extended = false; // whether an endless list went on
      this.asked = 0;
      this.queue = [];
      this.reported = new Set();
      this.said = new Set();
      this.dismissed = new Set();
      this.page = null; // where an endless list goes on; null while it is asking, or at its end
      this.loaded = new Set(); // addresses of pictures that came: shown again without a blink
      this.shown = '';
      this.host = document.createElement('recsys-carousel');
      this.root = this.host.attachShadow({ mode: 'open' });
      this.style();
      this.frame();
      this.show(this.placeholders());
    }

    // A sheet that is constructed needs no 'unsafe-inline' in the shop's Content-Security-Policy.
    style() {
      const sheet = new CSSStyleSheet();
      sheet.replaceSync(CSS);
      this.root.adoptedStyleSheets = [sheet];
    }

    frame() {
      const { previous = this.words().previous, next = this.words().next } = this.options;
      this.box = make('div', 'root');
      this.box.lang = this.lang();
      const section = make('section');
      this.heading = make('h2', '', this.title(null));
      this.heading.id = 'heading';
      section.setAttribute('aria-labelledby', 'heading');
      this.buttons = make('nav');
      this.buttons.setAttribute('aria-labelledby', 'heading');
      this.buttons.hidden = true;
      for (const [name, label, step] of [['previous', previous, -1], ['next', next, 1]]) {
        const button = make('button', name);
        button.type = 'button';
        button.setAttribute('aria-label', label);
        button.addEventListener('click', () => this.turn(step));
        this.buttons.append(button);
      }
      const header = make('header');
      header.append(this.heading, this.buttons);
      this.list = make('ul');
      this.list.setAttribute('role', 'list'); // without bullets some screen readers do not take it for one
      this.list.addEventListener('scroll', () => this.ends(), { passive: true });
      this.list.addEventListener('keydown', (event) => this.key(event));
      new ResizeObserver(() => this.ends()).observe(this.list);
      section.append(header, this.list);
      this.box.append(section);
      this.root.append(this.box);
    }

    lang() {
      return this.options.lang || this.anchor.closest('[lang]')?.lang || navigator.language || 'en';
    }

    /** Our own words in the page's language, English where we do not speak it. */
    words() {
      return WORDS[this.lang().toLowerCase().split('-')[0]] || WORDS.en;
    }

    title(answer) {
      const { for: kind, title, titleFallback } = this.options;
      const personal = (kind === 'recommend' || kind === 'session') && (answer?.kind ?? 'personal') === 'personal';
      const shelf = kind === 'popular' || kind === 'new';
      // What sells anyway must not pass for what was chosen for this person.
      if (answer && !shelf && (answer.fallback || (personal && !answer.known))) return titleFallback || this.words().popular;
      return title || answer?.title || this.words()[kind];
    }

    count() {
      const k = Math.trunc(Number(this.options.k));
      return Number.isFinite(k) && k > 0 ? Math.min(k, MOST) : 10;
    }

    once(text) {
      if (!this.said.has(text)) warn(text);
      this.said.add(text);
    }

    /** Say what is wrong about the options, and go on with what is sure. */
    check() {
      const { consent, k } = this.options;
      if (consent !== undefined && !CONSENTS.includes(consent)) {
        this.once(`data-consent="${consent}" is none of ${CONSENTS.join(', ')}; it is taken as none`);
        this.options.consent = 'none';
      }
      if (k !== undefined && !(Number(k) >= 1 && Number(k) <= MOST)) {
        this.once(`data-k="${k}" is not a number between 1 and ${MOST}; ${this.count()} items are asked for`);
      }
    }

    // As high as what will come, so that the page below does not jump.
    placeholders() {
      return Array.from({ length: Math.min(this.count(), 8) }, () => {
        const item = make('li', 'waiting');
        const card = make('div', 'card');
        card.append(make('div', 'pic'), make('div', 'title'), make('div', 'price'));
        item.setAttribute('aria-hidden', 'true');
        item.append(card);
        return item;
      });
    }

    show(items) {
      this.list.replaceChildren(...items);
      if (!this.host.isConnected) {
        if (this.inside) this.anchor.append(this.host);
        else this.anchor.after(this.host);
      }
      this.ends();
    }

    question() {
      const { for: kind, user, session, item, items, category, consent, why, exclude, placement } = this.options;
      const personal = kind === 'recommend' || kind === 'session';
      const url = new URL(kind === 'session' ? 'recommend' : kind, this.base);
      const given = { k: Math.min(this.count() + this.spare(), MOST), category, exclude, placement };
      if (personal) Object.assign(given, { session_id: session, items, consent });
      if (kind === 'recommend' && user) Object.assign(given, { user_id: user, user_token: this.options.token });
      if ((!personal && NEEDS[kind]) || (kind === 'recommend' && placement)) given.item_id = item;
      if (why) given.explain = 'true';
      for (const [name, value] of Object.entries(given)) if (value) url.searchParams.set(name, value);
      return url;
    }

    /** Items of other carousels of this page: none is shown twice, unless data-duplicates says so. Whichever answer
     * comes first, the carousel further up keeps what both have. */
    elsewhere(above = true) {
      const found = new Set(this.dismissed);
      if (this.options.duplicates === undefined) {
        for (const other of carousels) {
          if (other === this || (above && !other.precedes(this))) continue;
          for (const item of other.answer?.items ?? []) found.add(item.item_id);
        }
      }
      return found;
    }

    /** Whether it stands further up in the page than another one; of two in one place, the first. */
    precedes(other) {
      if (this.anchor === other.anchor) return [...carousels].indexOf(this) < [...carousels].indexOf(other);
      return Boolean(this.anchor.compareDocumentPosition(other.anchor) & Node.DOCUMENT_POSITION_FOLLOWING);
    }

    /** Leave to those further up what they show now. */
    yield() {
      if (!this.answer || this.options.duplicates !== undefined) return;
      if (!this.extended) {
        this.arrange({ ...this.answer, items: this.whole });
        return;
      }
      const taken = this.elsewhere(); // it was scrolled: nothing moves but what must go
      this.answer.items = this.answer.items.filter((item) => !taken.has(item.item_id));
      for (const entry of [...this.list.children]) if (taken.has(entry.dataset.item)) entry.remove();
    }

    spare() {
      const others = this.options.duplicates === undefined && carousels.size > 1;
      return Math.min((others ? SPARE : 0) + this.dismissed.size, SPARE);
    }

    /** Ask and show; resolves to the answer, or null when there is none. Never throws. */
    async refresh() {
      const turn = ++this.asked;
      let answer = null;
      try {
        const { for: kind } = this.options;
        this.check();
        look(this);
        if (!KINDS.includes(kind)) throw new Error(`data-for="${kind}" is none of ${KINDS.join(', ')}`);
        if (NEEDS[kind] && !this.options[NEEDS[kind]]) throw new Error(`"${kind}" needs data-${NEEDS[kind]}`);
        answer = await this.ask();
      } catch (error) {
        if (turn !== this.asked) return null;
        // The shop's page goes on as if we were not there; what is already shown stays.
        if (!this.answer) this.host.remove();
        warn(`no list (${error.message})`);
        if (typeof this.options.onerror === 'function') this.options.onerror(error);
        return null;
      }
      if (turn !== this.asked) return null; // a later question is on its way
      this.whole = answer.items;
      this.extended = false;
      this.arrange(answer);
      for (const other of carousels) if (this !== other && this.precedes(other)) other.yield();
      return answer;
    }

    /** Show an answer, but for what is shown further up; `whole` has it all. */
    arrange(answer) {
      const taken = this.elsewhere();
      answer.items = answer.items.filter((item) => !taken.has(item.item_id)).slice(0, this.count());
      if (!answer.items.length) {
        this.answer = answer;
        this.shown = '';
        this.host.remove();
        // A script that is told of failures looks for itself.
        const about = `${this.options.for}, ${this.question().search.slice(1)}`;
        if (typeof this.options.onerror !== 'function') this.once(`nothing to show (${about})`);
        return;
      }
      const face = JSON.stringify([this.title(answer), this.options.why, answer.items.map(({ score, ...rest }) => rest)]);
      // The same list again stays as it is, with the request that brought it: whoever reads it is not disturbed.
      if (face === this.shown && this.host.isConnected) return;
      this.shown = face;
      this.answer = answer;
      this.heading.textContent = this.title(answer);
      this.watch?.disconnect();
      this.show(answer.items.map((item, number) => this.card(item, number + 1, answer.request_id)));
      this.page = this.options.endless === undefined ? null : this.whole.length;
      this.list.scrollTo({ left: 0, behavior: 'instant' });
      this.ends(); // a list that fits its place is never scrolled: it asks for more now or not at all
      this.observe();
      if (!this.list.querySelector('a')) {
        this.once('no item of this list has a link: give the items a url, or the script data-link="/product/{item_id}"');
      }
      this.host.dispatchEvent(new CustomEvent('recsys:answer', { detail: answer, bubbles: true }));
    }

    /** The next page of an endless list, without what is shown already. */
    async more() {
      const offset = this.page;
      const turn = this.asked;
      if (offset === null || offset >= DEEPEST) return;
      this.page = null; // while it is asking
      const answer = await this.ask(offset).catch(() => null);
      if (turn !== this.asked) return;
      if (!answer) {
        this.page = offset; // the next scroll tries again
        return;
      }
      const shown = this.elsewhere(false);
      this.extended = true;
      for (const item of this.answer.items) shown.add(item.item_id);
      const fresh = answer.items.filter((item) => !shown.has(item.item_id));
      const first = this.answer.items.length;
      this.answer.items.push(...fresh);
      this.list.append(...fresh.map((item, number) => this.card(item, first + number + 1, answer.request_id)));
      this.observe();
      if (answer.items.length) this.page = offset + answer.items.length;
      this.ends();
    }

    async ask(offset = 0) {
      const stop = new AbortController();
      const timer = setTimeout(() => stop.abort(), PATIENCE);
      try {
        const key = this.options.key;
        const question = this.question();
        if (offset) question.searchParams.set('offset', offset);
        const reply = await fetch(question, {
          credentials: 'omit',
          signal: stop.signal,
          headers: key ? { 'X-API-Key': key } : {},
        });
        if (!reply.ok) {
          // Of a copy: whoever is told of the failure may want to read it, too.
          const said = (await reply.clone().json().catch(() => null))?.error;
          const words = said?.message ? `: ${said.message} ${said.hint || ''}`.trimEnd() : '';
          throw Object.assign(new Error(`the server answers ${reply.status}${words}`), { reply });
        }
        const answer = await reply.json();
        if (!Array.isArray(answer.items)) throw new Error('the answer is no list');
        return answer;
      } finally {
        clearTimeout(timer);
      }
    }

    href(item) {
      if (typeof this.options.href === 'function') return this.options.href(item);
      const own = item.url && safe(item.url, document.baseURI);
      if (own) return own;
      const { item_id, parent_id } = item;
      const values = { item_id, id: item_id, parent_id: parent_id ?? item_id, handle: parent_id ?? item_id };
      const fill = (all, name) => (Object.hasOwn(values, name) ? encodeURIComponent(values[name]) : all);
      return this.options.link ? safe(this.options.link.replace(/\{(\w+)\}/g, fill), document.baseURI) : null;
    }

    card(item, position, request_id) {
      const title = item.title || item.item_id;
      const cost = price(item.price, this.options.currency, this.lang());
      const href = this.href(item);
      const card = make(href ? 'a' : 'div', 'card');
      if (href) {
        card.setAttribute('href', href);
        // auxclick: the middle button opens a tab, and is a click to the shop all the same.
        for (const kind of ['click', 'auxclick']) {
          card.addEventListener(kind, (event) => event.button < 2 && this.clicked(event, item, position, request_id));
        }
      }
      card.append(this.picture(item, title), make('div', 'title', title), make('div', 'price', cost));
      if (this.options.why) {
        const why = make('div', 'why');
        const say = this.options.say ?? ((text) => text);
        why.append(make('b', '', item.fallback ? say(`${item.source}, a fallback`) : say(item.source)), say(item.reason || ''));
        card.append(why);
      }
      const entry = make('li');
      entry.part = 'card';
      entry.dataset.item = item.item_id;
      entry.recsys = { item, position, request_id };
      entry.append(card);
      if (this.options.dismiss !== undefined) entry.append(this.dismissal(entry, title));
      return entry;
    }

    /** Tell the page, which may go on by itself (preventDefault), and the server. */
    clicked(event, item, position, request_id) {
      const detail = { item, position, request_id };
      const told = new CustomEvent('recsys-click', { detail, bubbles: true, composed: true, cancelable: true });
      if (!this.host.dispatchEvent(told)) event.preventDefault();
      this.report('click', item, position, request_id, true);
    }

    /** A button that takes an item away for good, as far as this page and, with consent, the shop are concerned. */
    dismissal(entry, title) {
      const { item, position, request_id } = entry.recsys;
      const button = make('button', 'dismiss');
      button.type = 'button';
      const label = this.options.dismiss || 'Not interested';
      button.setAttribute('aria-label', `${label}: ${title}`);
      button.title = label;
      button.addEventListener('click', () => {
        const next = entry.nextElementSibling ?? entry.previousElementSibling;
        next?.querySelector('button.dismiss')?.focus();
        this.dismissed.add(item.item_id);
        this.answer.items = this.answer.items.filter((one) => one.item_id !== item.item_id);
        entry.remove();
        const detail = { item, position, request_id };
        this.host.dispatchEvent(new CustomEvent('recsys-dismiss', { detail, bubbles: true, composed: true }));
        this.report('dislike', item, position, request_id, true);
        this.ends();
      });
      return button;
    }

    picture(item, title) {
      // Until the picture is there, and if it never is: a quiet square with the first letter.
      const frame = make('div', 'pic');
      frame.part = 'picture';
      const letter = make('span', '', [...title.trim()][0]?.toUpperCase() || '');
      letter.setAttribute('aria-hidden', 'true');
      frame.append(letter);
      // Pictures under this path are the server's own; all others are the shop's.
      const base = item.img_url?.startsWith('/sample-images/') ? this.base : document.baseURI;
      const source = item.img_url && safe(item.img_url.replace(/^\/(?=sample-images\/)/, ''), base);
      if (source) {
        const image = make('img');
        image.loading = this.loaded.has(source) ? 'eager' : 'lazy';
        image.decoding = 'async';
        image.alt = ''; // the title stands beside it, and is read once
        const here = () => {
          image.className = 'here';
          letter.hidden = true;
          this.loaded.add(source);
        };
        if (this.loaded.has(source)) here();
        image.addEventListener('load', here);
        image.addEventListener('error', () => {
          image.remove();
          letter.hidden = false;
        });
        image.setAttribute('src', source);
        frame.append(image);
      }
      return frame;
    }

    // -- moving through the list

    rtl() {
      return getComputedStyle(this.list).direction === 'rtl' ? -1 : 1;
    }

    turn(step) {
      this.list.scrollBy({ left: this.rtl() * step * Math.max(this.list.clientWidth * 0.9, 120) });
    }

    ends() {
      const { scrollLeft, scrollWidth, clientWidth } = this.list;
      const left = Math.abs(scrollLeft);
      this.buttons.hidden = scrollWidth <= clientWidth + 2;
      // Not `disabled`: a button that loses the keyboard's focus at the end of the list throws its user out of it.
      this.buttons.firstChild.setAttribute('aria-disabled', String(left < 2));
      this.buttons.lastChild.setAttribute('aria-disabled', String(left + clientWidth > scrollWidth - 2));
      if (left + 2 * clientWidth > scrollWidth) this.more();
    }

    key(event) {
      const links = [...this.list.querySelectorAll('a')];
      const here = links.indexOf(this.root.activeElement);
      const step = { ArrowRight: this.rtl(), ArrowLeft: -this.rtl(), Home: -here, End: links.length - 1 - here }[event.key];
      if (here < 0 || step === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      links[here + step]?.focus();
    }

    // -- what was seen and clicked, with consent

    who() {
      const { consent, user, session } = this.options;
      if (consent === 'full' && user) return session ? { user_id: user, session_id: session } : { user_id: user };
      return (consent === 'full' || consent === 'session') && session ? { session_id: session } : null;
    }

    observe() {
      this.watch?.disconnect();
      if (!this.who()) return;
      const timers = new Map();
      this.watch = new IntersectionObserver(
        (entries) => {
          for (const { target, intersectionRatio } of entries) {
            clearTimeout(timers.get(target));
            if (intersectionRatio < SEEN_SHARE) continue;
            const look = () => {
              // In a tab behind others nobody sees anything.
              if (document.visibilityState !== 'visible') timers.set(target, setTimeout(look, SEEN_MS));
              else if (target.isConnected) {
                const { item, position, request_id } = target.recsys;
                this.report('impression', item, position, request_id);
              }
            };
            timers.set(target, setTimeout(look, SEEN_MS));
          }
        },
        { threshold: [0, SEEN_SHARE] },
      );
      for (const entry of this.list.children) this.watch.observe(entry);
    }

    report(kind, item, position, request_id, now = false, more = {}) {
      const who = this.who();
      if (!who) return;
      const once = JSON.stringify([kind, request_id, item.item_id]);
      if (kind === 'impression' && this.reported.has(once)) return;
      this.reported.add(once);
      this.queue.push({ ...who, item_id: item.item_id, event_type: kind, position, request_id, ...more });
      clearTimeout(this.timer);
      if (now) this.send();
      else this.timer = setTimeout(() => this.send(), 500);
    }

    send() {
      clearTimeout(this.timer);
      const url = new URL('events', this.base);
      url.searchParams.set('consent', this.options.consent);
      if (this.options.token) url.searchParams.set('user_token', this.options.token);
      const headers = { 'Content-Type': 'application/json' };
      if (this.options.key) headers['X-API-Key'] = this.options.key;
      while (this.queue.length) {
        const body = JSON.stringify({ events: this.queue.splice(0, AT_ONCE) });
        // keepalive: a click leaves this page, and its report must not die with it.
        fetch(url, { method: 'POST', keepalive: true, credentials: 'omit', headers, body })
          .then((reply) => reply.ok || console.warn(`recsys: events were not taken (${reply.status})`))
          .catch((error) => console.warn(`recsys: events were not taken (${error.message})`));
      }
    }

    /** Take it out of the page. */
    remove() {
      this.asked += 1;
      if (visit?.carousel === this) leave();
      this.send();
      this.watch?.disconnect();
      this.host.remove();
      carousels.delete(this);
    }
  }

  const carousels = new Set();
  const script = document.currentScript;

  // How long the page's own product was looked at (data-view, data-item): one view, told once, as the visitor leaves the
  // page or turns to another tab. Phones close what is in the background without another word.
  let visit = null;
  const visible = () => document.visibilityState === 'visible';

  const look = (carousel) => {
    const { view, item } = carousel.options;
    if (view === undefined) return;
    if (!item) carousel.once('data-view needs data-item, the product of this page');
    if (!item || visit?.item === item) return;
    leave();
    visit = { carousel, item, since: visible() ? performance.now() : null, told: false };
  };

  const leave = () => {
    if (!visit || visit.told || visit.since === null) return;
    visit.told = true;
    const duration_ms = Math.min(Math.round(performance.now() - visit.since), LONGEST_VIEW);
    visit.carousel.report('view', { item_id: visit.item }, undefined, undefined, true, { duration_ms });
  };

  /** Put the children of a grid that the page has made in the order of POST /rank, in place.
   *
   * The grid keeps its room and is hidden until the answer, RANK_PATIENCE at most, so that nothing is seen to move. It
   * stays as it was when the answer is late or an error, when somebody is in it with the keyboard, and when it would
   * need more room than it has. Resolves to whether it was reordered.
   */
  const rank = async (grid, base, options) => {
    const attribute = options.attribute || 'data-item';
    const cards = [...grid.children].filter((card) => card.getAttribute(attribute));
    if (cards.length < 2 || grid.recsysRanking) return false;
    grid.recsysRanking = true;
    const { visibility } = grid.style;
    const stop = new AbortController();
    const timer = setTimeout(() => stop.abort(), options.patience ?? RANK_PATIENCE);
    const put = (order) => {
      const marks = [...grid.children].filter((child) => cards.includes(child)).map((card) => {
        const mark = document.createComment('');
        card.replaceWith(mark);
        return mark;
      });
      marks.forEach((mark, place) => mark.replaceWith(order[place]));
    };
    try {
      grid.style.minHeight = `${grid.getBoundingClientRect().height}px`;
      grid.style.visibility = 'hidden';
      const url = new URL('rank', base);
      if (options.token) url.searchParams.set('user_token', options.token);
      const body = { items: [...new Set(cards.map((card) => card.getAttribute(attribute)))].slice(0, 1000) };
      if (options.user) body.user_id = options.user;
      if (options.session) body.session_id = options.session;
      for (const name of ['popular', 'given']) if (options[name] !== undefined) body[name] = Number(options[name]);
      const headers = { 'Content-Type': 'application/json' };
      if (options.key) headers['X-API-Key'] = options.key;
      const asked = { method: 'POST', credentials: 'omit', headers, body: JSON.stringify(body), signal: stop.signal };
      const reply = await fetch(url, asked);
      if (!reply.ok) throw new Error(`the server answers ${reply.status}`);
      const places = new Map((await reply.json()).items.map((item, place) => [item.item_id, place]));
      const at = (card) => places.get(card.getAttribute(attribute)) ?? places.size; // unknown ones last, as they stood
      const order = [...cards].sort((a, b) => at(a) - at(b));
      if (grid.contains(document.activeElement)) return false;
      const room = grid.getBoundingClientRect().height;
      put(order);
      if (grid.getBoundingClientRect().height > room) {
        put(cards);
        return false;
      }
      grid.dispatchEvent(new CustomEvent('recsys:ranked', { bubbles: true }));
      return true;
    } catch (error) {
      if (error.name !== 'AbortError') warn(`the grid stays as it was: ${error.message}`);
      return false;
    } finally {
      clearTimeout(timer);
      grid.style.visibility = visibility;
      grid.recsysRanking = false;
    }
  };

  const start = (anchor, inside, base, options) => {
    const carousel = new Carousel(anchor, inside, base, options);
    carousels.add(carousel);
    carousel.refresh();
    return carousel;
  };

  const mountScript = (element) => {
    if (!element || element.recsysMounted) return;
    const wrong = misspelt(element);
    for (const [name, meant] of wrong) warn(`the attribute ${name} is not known; did you mean ${meant}?`);
    if (!element.dataset.for) {
      // Without any of our attributes the script is there for window.recsys alone.
      const meant = wrong.length || KNOWN.some((name) => element.hasAttribute(`data-${name}`));
      if (meant) warn(`data-for is missing; it is one of ${KINDS.join(', ')}`);
      return;
    }
    element.recsysMounted = true;
    const options = { ...element.dataset };
    let into = null;
    try {
      into = options.into && document.querySelector(options.into);
    } catch {
      warn(`data-into="${options.into}" is no CSS selector`);
      return;
    }
    if (options.into && !into) warn(`data-into="${options.into}": there is no such element in this page`);
    else start(into || element, Boolean(into), new URL('.', element.src), options);
  };

  // The file may be in a page several times, once for each carousel; the first one stays in charge of them all.
  if (typeof window.recsys?.mountScript !== 'function') {
    const base = new URL('.', script?.src || document.baseURI);
    const forget = () => {
      for (const carousel of carousels) if (!carousel.anchor.isConnected) carousel.remove();
    };
    window.recsys = {
      /** Put a carousel into an element; `options` go before its data- attributes. Returns it; null without one. */
      mount: (element, options = {}) => {
        if (element instanceof Element) return start(element, true, base, { ...element.dataset, ...options });
        warn(`recsys.mount was given ${element === null ? 'null' : typeof element}, and no element of this page`);
        return null;
      },
      /** Ask again, after something went into the basket, say. `changes` are options for all of them. */
      refresh: (changes = {}) => {
        forget();
        return Promise.all([...carousels].map((c) => (Object.assign(c.options, changes), c.refresh())));
      },
      /** Order a grid of the page in place, for `options.user` or `.session`; see the README. Resolves to whether. */
      rank: (grid, options = {}) => {
        if (grid instanceof Element) return rank(grid, base, { ...grid.dataset, ...options });
        warn('recsys.rank was given no element of this page');
        return Promise.resolve(false);
      },
      mountScript,
    };
    const flush = () => carousels.forEach((carousel) => carousel.queue.length && carousel.send());
    addEventListener('pagehide', () => (leave(), flush()));
    addEventListener('pageshow', (event) => {
      if (!event.persisted || !visit) return;
      const { carousel } = visit; // back on this page: another view
      visit = null;
      look(carousel);
    });
    document.addEventListener('visibilitychange', () => {
      if (!visible()) {
        leave();
        flush();
      } else if (visit?.since === null) visit.since = performance.now(); // opened in a tab behind others
    });
  }
  // As a module there is no current script: then all that have not been served yet are.
  if (script) window.recsys.mountScript(script);
  else document.querySelectorAll('script[data-for][src*="widget.js"]').forEach(window.recsys.mountScript);
})();
