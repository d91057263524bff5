// Print what AsyncAPI's own parser says of a document: a JSON array of where and what, empty if there is nothing.
import { readFile } from 'node:fs/promises';
import { Parser } from '@asyncapi/parser';

const source = process.argv[2];
const { diagnostics } = await new Parser().parse(await readFile(source, 'utf8'), { source });
console.log(JSON.stringify(diagnostics.map(({ path, message }) => `${path.join('.')}: ${message}`)));
