// Bundles the pages and writes them as a C++ source.
//   node build.mjs OUTPUT.cc
import { build } from 'esbuild';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const [output] = process.argv.slice(2);
const source = fileURLToPath(new URL('src/', import.meta.url));
const bundled = await build({
  entryPoints: [source + 'main.jsx'], bundle: true, minify: true, write: false,
  format: 'esm', target: 'es2022', jsx: 'automatic', jsxImportSource: 'preact', legalComments: 'none',
});

const assets = [
  ['/', 'text/html; charset=utf-8', readFileSync(source + 'index.html')],
  ['/console.js', 'text/javascript; charset=utf-8', bundled.outputFiles[0].contents],
  ['/console.css', 'text/css; charset=utf-8', readFileSync(source + 'console.css')],
  ['/icon.svg', 'image/svg+xml', readFileSync(source + 'icon.svg')],
];

const array = (bytes) => Array.from(bytes, (byte) => (byte > 127 ? byte - 256 : byte)).join(',');
writeFileSync(output, `// Made by fs/console/web/build.mjs.
#include "fs/console/Assets.h"

namespace keyfold {
namespace {
${assets.map(([, , bytes], i) => `constexpr char kBytes${i}[] = {${array(bytes)}};`).join('\n')}

constexpr Asset kAssets[] = {
${assets.map(([path, type], i) => `    {"${path}", "${type}", {kBytes${i}, sizeof kBytes${i}}},`).join('\n')}
};
}  // namespace

const Asset* FindAsset(std::string_view path) {
  for (const Asset& asset : kAssets)
    if (asset.path == path) return &asset;
  return nullptr;
}

}  // namespace keyfold
`);
