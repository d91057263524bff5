// Print what Grafana's own types find wrong with dashboards: a JSON array of file, line and what.
import { readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const options = {
  module: ts.ModuleKind.ESNext,
  moduleResolution: ts.ModuleResolutionKind.Node10,
  noEmit: true,
  skipLibCheck: true,
  strict: true,
  target: ts.ScriptTarget.ES2022,
  types: [],
};
const here = dirname(fileURLToPath(import.meta.url));
// Each dashboard is a constant of a module that is nowhere but here.
const modules = new Map(
  process.argv.slice(2).map((path, number) => [
    join(here, `${number}.ts`),
    { path, text: `import type { Shipped } from './dashboard'; export const dashboard: Shipped = ${readFileSync(path, 'utf8')};` },
  ]),
);
const host = ts.createCompilerHost(options);
const { fileExists, getSourceFile } = host;
host.fileExists = (name) => modules.has(name) || fileExists(name);
host.getSourceFile = (name, version) =>
  modules.has(name) ? ts.createSourceFile(name, modules.get(name).text, version) : getSourceFile(name, version);

const found = ts.getPreEmitDiagnostics(ts.createProgram([...modules.keys()], options, host));
const told = found.map(({ file, start, messageText }) => {
  const place = file && `${basename(modules.get(file.fileName)?.path ?? file.fileName)}:${file.getLineAndCharacterOfPosition(start).line + 1}`;
  return `${place}: ${ts.flattenDiagnosticMessageText(messageText, ' ')}`;
});
console.log(JSON.stringify(told));
