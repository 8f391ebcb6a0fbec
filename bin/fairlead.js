#!/usr/bin/env node
// Plain JavaScript that any Node can read: an old one must say so instead of failing on what it does not know.
const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
if (major < 24 || (major === 24 && minor < 11)) {
  process.stderr.write(
    `fairlead needs Node.js 24.11 or newer and this is ${process.versions.node}: start it with "npm start" or "npx fairlead", which bring their own, or install a newer Node.\n`,
  )
  process.exit(1)
}
const { main } = await import('../src/cli.ts')
await main(process.argv.slice(2))
