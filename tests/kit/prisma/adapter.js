// Copyright (c) 2026, llmops.user_bridge contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later
//
// @prisma/adapter-pg, but with more of PostgreSQL's types taken for text: it refuses some that LiteLLM's raw queries and
// the schema engine's questions to the catalog return. The package on disk stays as it is.
'use strict';

const fs = require('node:fs');
const Module = require('node:module');
const path = require('node:path');

const HEAD = 'function fieldToColumnType(fieldTypeId) {';
const NAME_ARRAY = 1003;

// What the engines ask for: Node.js 18 has it in a module only.
globalThis.crypto ??= require('node:crypto').webcrypto;
// Where they put what they have to say before they end.
globalThis.PRISMA_WASM_PANIC_REGISTRY = { set_message: (text) => console.error(text) };

/** The package of this name, with these types taken for text and arrays of names for arrays of text. */
function adapter(name, textTypes) {
  const file = require.resolve(name);
  const source = fs.readFileSync(file, 'utf8');
  // The bundles call the enumeration differently.
  const types = /return ((?:import_\w+\.)?ColumnTypeEnum)\.Text;/.exec(source)?.[1];
  if (!types || source.split(HEAD).length !== 2) throw new Error(`${file} is not what it was: adapt this patch`);
  const more = [
    HEAD,
    `  if (${JSON.stringify(textTypes)}.includes(fieldTypeId)) return ${types}.Text;`,
    `  if (fieldTypeId === ${NAME_ARRAY}) return ${types}.TextArray;`,
  ];
  const loaded = new Module(file);
  loaded.filename = file;
  loaded.paths = Module._nodeModulePaths(path.dirname(file));
  loaded._compile(source.replace(HEAD, () => more.join('\n')), file);
  return loaded.exports;
}

module.exports = { adapter };
