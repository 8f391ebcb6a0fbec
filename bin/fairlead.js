#!/usr/bin/env node
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

// Plain JavaScript that any Node can read: an old one must say so instead of failing on what it does not know.
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
if (major < 24 || (major === 24 && minor < 11)) {
  process.stderr.write(
    `fairlead needs Node.js 24.11 or newer and this is ${process.versions.node}: start it with "npm start" or "npx fairlead", which bring their own, or install a newer Node.\n`,
  )
  process.exit(1)
}
// What was compiled once need not be compiled at the next start. Where nothing can be written, nothing is kept.
const { enableCompileCache } = await import('node:module')
enableCompileCache?.(fileURLToPath(new URL('../node_modules/.cache/fairlead', import.meta.url)))
// A clone runs as it stands, whatever was compiled in it; the package has only what was compiled.
const source = new URL('../src/cli.ts', import.meta.url)
const { main } = await import(existsSync(source) ? source.href : '../dist/src/cli.js')
await main(process.argv.slice(2))
