/* The carousel of recsys as a React component, for React 18 and 19:
 *
 *   import { RecommendationCarousel } from './widget.react.js';
 *   <RecommendationCarousel apiUrl="http://127.0.0.1:8000" userId="13085" count={8} title="For you" />
 *
 * Cards are elements of your page, to be styled by your classes. It stores nothing. Only with consent "session" or "full"
 * does it report what was really seen and clicked (POST /events). A server that does not answer leaves no trace but a
 * warning in the console.
 */

import { createElement as h, useCallback, useEffect, useMemo, useRef, useState } from 'react';

const PATIENCE = 8000; // ms
const SEEN_SHARE = 0.5;
const SEEN_MS = 1000;

const safe = (text) => {
  try {
    const url = new URL(text, document.baseURI);
    return url.protocol === 'https:' || url.protocol === 'http:' ? url.href : undefined;
  } catch {
    return undefined;
  }
};

/** A price in words; a currency that is none must not take the page down. */
const priced = (value, currency) => {
  const digits = { minimumFractionDigits: 2, maximumFractionDigits: 2 };
  try {
    return new Intl.NumberFormat(undefined, currency ? { style: 'currency', currency } : digits).format(value);
  } catch {
    return value.toFixed(2);
  }
};

/** Ask for a list; throws when there is none. */
async function fetchList({ apiUrl, userId, sessionId, count, placement, apiKey, consent, signal }) {
  const url = new URL('recommend', `${apiUrl.replace(/\/+$/, '')}/`);
  const given = { k: count, user_id: userId, session_id: sessionId, placement, consent };
  for (const [name, value] of Object.entries(given)) if (value !== undefined && value !== null && value !== '') url.searchParams.set(name, value);
  const reply = await fetch(url, { credentials: 'omit', signal, headers: apiKey ? { 'X-API-Key': apiKey } : {} });
  if (!reply.ok) throw new Error(`the server answers ${reply.status}`);
  return reply.json();
}

/** What a shop knows of an item goes before what the recommender does; one that cannot be looked up stays as it is. */
async function withDetails(items, fetchItemDetails) {
  if (!fetchItemDetails) return items;
  const found = await Promise.allSettled(items.map((item) => fetchItemDetails(item.item_id)));
  return items.map((item, n) => (found[n].status === 'fulfilled' && found[n].value ? { ...item, ...found[n].value } : item));
}

function useReports({ apiUrl, userId, sessionId, apiKey, consent }) {
  const reported = useRef(new Set());
  return useCallback((kind, item, position, requestId) => {
    const full = consent === 'full';
    const who = { ...(full && userId ? { user_id: userId } : {}), ...((full || consent === 'session') && sessionId ? { session_id: sessionId } : {}) };
    const once = `${kind} ${requestId} ${item.item_id}`;
    if (!Object.keys(who).length || (kind === 'impression' && reported.current.has(once))) return;
    reported.current.add(once);
    const url = new URL('events', `${apiUrl.replace(/\/+$/, '')}/`);
    url.searchParams.set('consent', consent);
    fetch(url, {
      method: 'POST',
      keepalive: true, // a click leaves the page, and its report must not die with it
      credentials: 'omit',
      headers: { 'Content-Type': 'application/json', ...(apiKey ? { 'X-API-Key': apiKey } : {}) },
      body: JSON.stringify({ ...who, item_id: item.item_id, event_type: kind, position, request_id: requestId }),
    }).catch((error) => console.warn(`recsys: an event was not taken (${error.message})`));
  }, [apiUrl, userId, sessionId, apiKey, consent]);
}

function Card({ apiUrl, item, position, requestId, className, onItemClick, report, currency }) {
  const place = useRef(null);
  useEffect(() => {
    if (typeof IntersectionObserver === 'undefined') return undefined;
    let timer = 0;
    const watch = new IntersectionObserver(([entry]) => {
      clearTimeout(timer);
      if (entry.intersectionRatio >= SEEN_SHARE) {
        timer = setTimeout(() => document.visibilityState === 'visible' && report('impression', item, position, requestId), SEEN_MS);
      }
    }, { threshold: [0, SEEN_SHARE] });
    watch.observe(place.current);
    return () => {
      clearTimeout(timer);
      watch.disconnect();
    };
  }, [item, position, requestId, report]);
  const title = item.title || item.item_id;
  const price = typeof item.price === 'number' ? priced(item.price, currency) : null;
  const click = (event) => {
    report('click', item, position, requestId);
    if (onItemClick) onItemClick(item, event);
  };
  const href = item.url ? safe(item.url) : undefined;
  // Pictures under this path are the server's own; all others are the shop's.
  const source = item.img_url ? safe(item.img_url.startsWith('/sample-images/') ? apiUrl.replace(/\/+$/, '') + item.img_url : item.img_url) : undefined;
  const inside = [
    source ? h('img', { key: 'img', src: source, alt: '', loading: 'lazy' }) : null,
    h('span', { key: 'title' }, title),
    price ? h('span', { key: 'price' }, price) : null,
  ];
  const shown = href
    ? h('a', { href, onClick: click, onAuxClick: (event) => event.button === 1 && click(event) }, inside)
    : h('button', { type: 'button', onClick: click }, inside);
  return h('li', { ref: place, className, 'data-item': item.item_id }, shown);
}

/** A list of recommendations; see widget.react.d.ts for its props. */
export function RecommendationCarousel({
  apiUrl, userId, sessionId, count = 10, title, className, containerClassName, cardClassName, onItemClick, fetchItemDetails,
  placement, apiKey, consent, currency, onError,
}) {
  const [answer, setAnswer] = useState(null);
  // Functions are made again at every render of the parent, and must not make us ask again.
  const latest = useRef({});
  latest.current = { fetchItemDetails, onError };
  const report = useReports({ apiUrl, userId, sessionId, apiKey, consent });
  useEffect(() => {
    const stop = new AbortController();
    const timer = setTimeout(() => stop.abort(), PATIENCE);
    let gone = false;
    fetchList({ apiUrl, userId, sessionId, count, placement, apiKey, consent, signal: stop.signal })
      .then(async (found) => ({ ...found, items: await withDetails(found.items, latest.current.fetchItemDetails) }))
      .then((found) => gone || setAnswer(found))
      .catch((error) => {
        if (gone) return;
        console.warn(`recsys: no list (${error.message})`);
        latest.current.onError?.(error);
      })
      .finally(() => clearTimeout(timer));
    return () => {
      gone = true;
      clearTimeout(timer);
      stop.abort();
    };
  }, [apiUrl, userId, sessionId, count, placement, apiKey, consent]);
  const items = useMemo(() => answer?.items ?? [], [answer]);
  if (!items.length) return null;
  const heading = title ?? (answer.fallback || !answer.known ? 'Popular now' : 'Recommended for you');
  return h('section', { className, 'aria-label': heading },
    h('h2', null, heading),
    h('ul', { className: containerClassName, role: 'list' }, items.map((item, n) =>
      h(Card, { key: item.item_id, apiUrl, item, position: n + 1, requestId: answer.request_id, className: cardClassName, onItemClick, report, currency }))));
}

export default RecommendationCarousel;
