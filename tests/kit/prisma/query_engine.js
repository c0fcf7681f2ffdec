// Copyright (c) 2026, llmops.user_bridge contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
//
// Stands where prisma-client-py expects Prisma's binary. It speaks GraphQL over HTTP on a port of loopback (-p PORT);
// behind that is Prisma's own query engine as WebAssembly, so the SQL is Prisma's and only transport and driver differ.
// DATABASE_URL and PRISMA_DML_PATH, the schema, come from the environment, as for the binary.
'use strict';

const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const { bindAdapter } = require('@prisma/driver-adapter-utils');
const { parse } = require('graphql');
const { Pool, types } = require('pg');
const { adapter } = require('./adapter.js');

const TEXT_TYPES = [19, 26, 2205, 2278]; // name, oid, regclass, void
const NAME_ARRAY = 1003;
const TEXT_ARRAY = 1009;
const TRACE = '{"traceparent":""}'; // The engine wants one with every call.

// ---- Prisma's schema ----

/** With a generator that the WebAssembly engine accepts. */
function readSchema() {
  const text = fs.readFileSync(process.env.PRISMA_DML_PATH, 'utf8');
  const features = 'provider = "prisma-client-js"\n  previewFeatures = ["driverAdapters"]';
  return text.replace(/generator\s+\w+\s*\{[^}]*\}/, `generator client {\n  ${features}\n}`);
}

/** Model to its fields that are Json, and to those that lead to another model. */
function readModels(text) {
  const bodies = new Map();
  for (const [, name, body] of text.matchAll(/^model (\w+) \{([\s\S]*?)^\}/gm)) bodies.set(name, body);
  const found = new Map();
  for (const [name, body] of bodies) {
    const model = { json: new Set(), relations: new Map() };
    for (const [, field, type] of body.matchAll(/^[ \t]+(\w+)[ \t]+(\w+)/gm)) {
      if (type === 'Json') model.json.add(field);
      if (bodies.has(type)) model.relations.set(field, type);
    }
    found.set(name, model);
  }
  return found;
}

// ---- from GraphQL to Prisma's JSON protocol ----

const ACTIONS = [
  'createMany',
  'createOne',
  'deleteMany',
  'deleteOne',
  'updateMany',
  'updateOne',
  'upsertOne',
  'aggregate',
  'groupBy',
  'findMany',
  'findUnique',
  'findFirst',
];
// Operands of a filter on a Json field that are Json themselves; path, string_contains and mode are not.
const JSON_OPERANDS = new Set([
  'equals',
  'not',
  'array_contains',
  'array_starts_with',
  'array_ends_with',
  'lt',
  'lte',
  'gt',
  'gte',
]);

/** GraphQL has Json as text; the JSON protocol wants to be told. */
const asJson = (text) => ({ $type: 'Json', value: text });

/** An argument's value, read as one of `model`'s fields; without a model in raw queries. */
function convertValue(node, model) {
  switch (node.kind) {
    case 'StringValue':
    case 'BooleanValue':
    case 'EnumValue':
      return node.value;
    case 'NullValue':
      return null;
    case 'FloatValue':
      return Number.parseFloat(node.value);
    case 'IntValue':
      return Number.isSafeInteger(Number(node.value)) ? Number(node.value) : { $type: 'BigInt', value: node.value };
    case 'ListValue':
      return node.values.map((value) => convertValue(value, model));
    case 'ObjectValue':
      return Object.fromEntries(node.fields.map((field) => [field.name.value, convertField(field, model)]));
    default:
      throw new Error(`GraphQL value of kind ${node.kind}`);
  }
}

function convertField({ name, value }, model) {
  const known = models.get(model);
  if (known?.json.has(name.value)) {
    if (value.kind === 'StringValue') return asJson(value.value);
    // `data: {...}` is a nested write, even where a column has that name.
    if (value.kind === 'ObjectValue' && name.value !== 'data') return convertJsonFilter(value);
  }
  return convertValue(value, known?.relations.get(name.value) ?? model);
}

function convertJsonFilter(node) {
  const convert = ({ name, value }) =>
    JSON_OPERANDS.has(name.value) && value.kind === 'StringValue' ? asJson(value.value) : convertValue(value);
  return Object.fromEntries(node.fields.map((field) => [field.name.value, convert(field)]));
}

const convertArguments = (field, model) =>
  Object.fromEntries((field.arguments ?? []).map((each) => [each.name.value, convertValue(each.value, model)]));

function convertSelection(set, model) {
  const selection = {};
  for (const field of set?.selections ?? []) {
    const name = field.name.value;
    const next = models.get(model)?.relations.get(name) ?? model;
    selection[name] =
      !field.selectionSet && !field.arguments?.length
        ? true
        : { arguments: convertArguments(field, next), selection: convertSelection(field.selectionSet, next) };
  }
  return selection;
}

/** One document: the query, and the key under which its answer goes back. */
function convertQuery(text) {
  const field = parse(text).definitions[0].selectionSet.selections[0];
  const name = field.name.value;
  // Raw queries have an action of their own name, and no model.
  let action = ACTIONS.find((each) => name.startsWith(each)) ?? name;
  let modelName = action === name ? undefined : name.slice(action.length);
  if (modelName?.endsWith('OrThrow')) {
    modelName = modelName.slice(0, -'OrThrow'.length);
    action += 'OrThrow';
  }
  const query = {
    arguments: convertArguments(field, modelName),
    selection: convertSelection(field.selectionSet, modelName),
  };
  return { key: field.alias?.value ?? name, request: { modelName, action, query } };
}

// ---- answers ----

/** Without the JSON protocol's marks of types. */
function unmark(value) {
  if (Array.isArray(value)) return value.map(unmark);
  if (value === null || typeof value !== 'object') return value;
  if ('$type' in value) return value.value;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, unmark(each)]));
}

const LOST = new Set(['ECONNREFUSED', 'ECONNRESET', 'ENOENT', 'ETIMEDOUT', '57P01', '57P03']);

/** An error of the driver comes as a number; the driver has kept the error itself. */
function explain(errors) {
  for (const error of errors) {
    const face = error.user_facing_error;
    if (face?.error_code !== 'P2036') continue;
    const cause = database.errorRegistry.consumeError(face.meta.id)?.error;
    face.message = String(cause?.stack ?? cause);
    if (LOST.has(cause?.code) || /Connection terminated/.test(cause?.message)) {
      face.error_code = 'P1001'; // What the binary says when it cannot reach the server.
      face.message = "Can't reach database server";
    }
    error.error = face.message;
  }
  return { errors };
}

const answer = (result, key) =>
  result.errors ? explain(result.errors) : { data: { [key]: unmark(Object.values(result.data ?? {})[0]) } };

const transactionAnswer = (text) => {
  const result = JSON.parse(text);
  return result.error_code ? { errors: [{ error: result.message, user_facing_error: result }] } : result;
};

/** An error of this program, as prisma-client-py reads one. */
function failure(error) {
  const face = { error_code: 'P0000', message: String(error), meta: {}, is_panic: false };
  return { errors: [{ error: String(error), user_facing_error: face }] };
}

// ---- requests ----

const send = async (request, transaction) =>
  JSON.parse(await engine.query(JSON.stringify(request), TRACE, transaction));

async function runQuery(body, transaction) {
  if (!body.batch) {
    const { key, request } = convertQuery(body.query);
    return answer(await send(request, transaction), key);
  }
  const queries = body.batch.map((each) => convertQuery(each.query));
  const request = { batch: queries.map((each) => each.request) };
  if (!transaction && body.transaction) request.transaction = {};
  const result = await send(request, transaction);
  const errors = result.errors ?? result.batchResult.find((each) => each.errors)?.errors;
  if (errors) return explain(errors);
  return { batchResult: result.batchResult.map((each, index) => answer(each, queries[index].key)) };
}

async function startTransaction({ max_wait = 2000, timeout = 5000, isolation_level }) {
  const options = JSON.stringify({ max_wait, timeout, isolation_level });
  return transactionAnswer(await engine.startTransaction(options, TRACE));
}

async function endTransaction(id, verb) {
  const end = verb === 'commit' ? engine.commitTransaction(id, TRACE) : engine.rollbackTransaction(id, TRACE);
  return transactionAnswer(await end);
}

async function handle(url, headers, text) {
  if (url === '/status') return { status: 'ok' };
  if (url.startsWith('/metrics')) return { counters: [], gauges: [], histograms: [] };
  if (url === '/transaction/start') return startTransaction(JSON.parse(text));
  const end = /^\/transaction\/([^/]+)\/(commit|rollback)$/.exec(url);
  if (end) return endTransaction(end[1], end[2]);
  return runQuery(JSON.parse(text), headers['x-transaction-id']);
}

async function serve(request, response) {
  let text = '';
  request.setEncoding('utf8');
  for await (const part of request) text += part;
  let result;
  try {
    result = await handle(request.url, request.headers, text);
  } catch (error) {
    console.error(error);
    result = failure(error);
  }
  response.writeHead(200, { 'content-type': 'application/json' });
  response.end(JSON.stringify(result));
}

// ---- start ----

/** Prisma's query engine. */
function queryEngine() {
  const runtime = path.dirname(require.resolve('@prisma/client/runtime/query_engine_bg.postgresql.js'));
  const glue = require(path.join(runtime, 'query_engine_bg.postgresql.js'));
  const bytes = fs.readFileSync(path.join(runtime, 'query_engine_bg.postgresql.wasm'));
  const module = new WebAssembly.Module(bytes);
  glue.__wbg_set_wasm(new WebAssembly.Instance(module, { './query_engine_bg.js': glue }).exports);
  const options = {
    datamodel: schema,
    logLevel: 'error',
    logQueries: false,
    env: process.env,
    configDir: '.',
    datasourceOverrides: {},
    ignoreEnvVarErrors: true,
    engineProtocol: 'json',
    enableTracing: false,
  };
  return new glue.QueryEngine(options, (line) => console.error(line), database);
}

types.setTypeParser(NAME_ARRAY, types.getTypeParser(TEXT_ARRAY));
const schema = readSchema();
const models = readModels(schema);
const pool = new Pool({ connectionString: process.env.DATABASE_URL, max: 10 });
pool.on('error', (error) => console.error('an idle connection:', error.message));
const database = bindAdapter(new (adapter('@prisma/adapter-pg', TEXT_TYPES).PrismaPg)(pool));
const engine = queryEngine();

async function main() {
  await engine.connect(TRACE);
  http.createServer(serve).listen(Number(process.argv[process.argv.indexOf('-p') + 1]), '127.0.0.1');
  // A LiteLLM that is killed must leave no engine behind.
  const parent = process.ppid;
  setInterval(() => process.ppid === parent || process.exit(0), 1000).unref();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
