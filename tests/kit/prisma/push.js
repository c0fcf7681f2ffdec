// Copyright (c) 2026, llmops.user_bridge contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
//
// node push.js URL SCHEMA
//
// Brings a database to a Prisma schema, as `prisma db push --accept-data-loss` does, by Prisma's own schema engine.
// Tables of the URL's schema that the Prisma schema does not know are DROPPED.
'use strict';

const fs = require('node:fs');
const path = require('node:path');
const { pathToFileURL } = require('node:url');
const { bindMigrationAwareSqlAdapterFactory } = require('driver-adapter-utils-6');
const { adapter } = require('./adapter.js');

const TEXT_TYPES = [18, 19, 2205, 2278]; // "char", name, regclass, void

/** The WebAssembly module with the JavaScript that was generated for it. */
async function schemaEngine() {
  const file = require.resolve('@prisma/schema-engine-wasm/schema_engine_bg');
  const glue = await import(pathToFileURL(file));
  const bytes = fs.readFileSync(path.join(path.dirname(file), 'schema_engine_bg.wasm'));
  const { instance } = await WebAssembly.instantiate(bytes, { './schema_engine_bg.js': glue });
  glue.__wbg_set_wasm(instance.exports);
  instance.exports.__wbindgen_start?.();
  return glue.SchemaEngine;
}

async function push(url, file) {
  const schema = { path: 'schema.prisma', content: fs.readFileSync(file, 'utf8') };
  const { PrismaPg } = adapter('adapter-pg-6', TEXT_TYPES);
  const database = bindMigrationAwareSqlAdapterFactory(new PrismaPg({ connectionString: url }));
  const SchemaEngine = await schemaEngine();
  const engine = await SchemaEngine.new({ datamodels: [[schema.path, schema.content]] }, () => {}, database);
  const filters = { externalTables: [], externalEnums: [] };
  const result = await engine.schemaPush({ force: true, schema: { files: [schema] }, filters });
  if (result.unexecutable.length) throw new Error(result.unexecutable.join('; '));
  console.log([`${result.executedSteps} steps`, ...result.warnings].join('\n'));
}

const [url, file] = process.argv.slice(2);
push(url, file).then(
  () => process.exit(0), // The adapter keeps its connections open.
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
