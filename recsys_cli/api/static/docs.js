/* The API for people: contents, and for each route its parameters, an example and what comes back, from openapi.json. */

const make = (tag, text, parent) => {
  const element = document.createElement(tag);
  if (text !== undefined && text !== null) element.textContent = text;
  parent?.append(element);
  return element;
};

// Values that examples have, by the name of the parameter.
const SAMPLES = { user_id: 'C101506', item_id: 'TEA-001', session_id: 's1', k: '5', items: 'TEA-001,KIT-002' };
const WANTED = { '/recommend': ['user_id', 'k'], '/popular': ['k'], '/trending': ['k'], '/new': ['k'], '/why': ['user_id'] };

const kind = (schema) => [
  schema.type === 'array' ? `list of ${kind(schema.items)}` : [].concat(schema.type ?? []).join(' or '),
  schema.enum ? `: ${schema.enum.join(', ')}` : '',
  'minimum' in schema ? ` from ${schema.minimum}` : '',
  'maximum' in schema ? ` to ${schema.maximum}` : '',
  'default' in schema && typeof schema.default !== 'object' ? `, default ${schema.default}` : '',
].join('').replace(/^: /, '');

/** A schema with what it refers to put in; what refers to itself is named. */
function whole(value, schemas, seen = []) {
  if (Array.isArray(value)) return value.map((one) => whole(one, schemas, seen));
  if (!value || typeof value !== 'object') return value;
  if (!value.$ref) return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, whole(one, schemas, seen)]));
  const name = value.$ref.split('/').pop();
  return seen.includes(name) ? { title: name } : whole(schemas[name], schemas, [...seen, name]);
}

/** Something that fits a schema. */
function sample(schema, name = '') {
  const one = schema.anyOf?.find((choice) => choice.type !== 'null') ?? schema;
  if (one.type === 'object') {
    const names = one.required?.length ? one.required : Object.keys(one.properties ?? {}).slice(0, 2);
    const asked = 'event_type' in (one.properties ?? {}) ? ['user_id', ...names, 'event_type'] : names;
    return Object.fromEntries(asked.map((field) => [field, sample(one.properties[field], field)]));
  }
  if (one.enum) return one.enum.includes('view') ? 'view' : one.enum[0];
  if (one.type === 'array') return [sample(one.items, name === 'items' ? 'item_id' : '')];
  if (one.type === 'boolean') return true;
  if (one.type === 'integer' || one.type === 'number') return 5;
  return SAMPLES[name] ?? 'text';
}

function example(path, method, operation, body) {
  const filled = path.replace(/\{(\w+)\}/g, (all, name) => SAMPLES[name] ?? 'text');
  const asked = (operation.parameters ?? []).filter((p) => p.in === 'query' && (p.required || WANTED[path]?.includes(p.name)));
  const query = asked.map((p) => `${p.name}=${SAMPLES[p.name] ?? sample(p.schema, p.name)}`).join('&');
  const url = new URL(filled.slice(1), document.baseURI).href + (query && `?${query}`);
  const verb = method === 'get' || (method === 'post' && body) ? '' : ` -X ${method.toUpperCase()}`;
  return `curl -H "X-API-Key: $KEY"${verb} '${url}'${body ? ` --json '${JSON.stringify(sample(body))}'` : ''}`;
}

function route(path, method, operation, schemas, root, contents) {
  const heading = make('h2', null, root);
  heading.id = `${method}${path}`;
  const link = make('a', `${method.toUpperCase()} ${path}`, make('li', null, contents));
  link.href = `#${encodeURIComponent(heading.id)}`;
  make('b', method.toUpperCase(), heading);
  heading.append(` ${path}`);
  make('p', operation.description || operation.summary, root);
  if (operation.parameters?.length) {
    const list = make('dl', null, root);
    for (const parameter of operation.parameters) {
      const row = make('div', null, list);
      make('code', parameter.name + (parameter.required ? ' *' : ''), make('dt', null, row));
      make('dd', kind(parameter.schema), row).className = 'kind';
      make('dd', parameter.description ?? '', row);
    }
  }
  const body = whole(operation.requestBody?.content?.['application/json']?.schema, schemas);
  if (!path.startsWith('/webhooks')) make('pre', example(path, method, operation, body), root); // those are signed
  const show = (title, value) => {
    const details = make('details', null, root);
    make('summary', title, details);
    make('pre', JSON.stringify(whole(value, schemas), null, 1), details);
  };
  if (body) show('Body', body);
  for (const [code, reply] of Object.entries(operation.responses)) {
    show(`${code} ${reply.description}`, Object.values(reply.content ?? {})[0]?.schema ?? {});
  }
}

const root = document.getElementById('routes');
try {
  const reply = await fetch('openapi.json');
  if (!reply.ok) throw new Error(reply.status);
  const described = await reply.json();
  for (const [path, methods] of Object.entries(described.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      route(path, method, operation, described.components.schemas, root, document.getElementById('contents'));
    }
  }
} catch {
  make('p', 'The server did not answer. Load the page again.', root);
}
