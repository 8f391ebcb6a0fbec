#!/usr/local/bin/node
import { accessSync, constants, readFileSync, statSync } from 'node:fs'
import { createServer, request } from 'node:http'
import { connect, createServer as createRelay } from 'node:net'

// Stands in for Garage where its image cannot be had: as strict about its files, with a real S3 server behind it.
// The folder /behind has the sockets of that server and of an administration API.

const [, , ...args] = process.argv
if (args.join(' ') !== 'server --single-node') throw new Error(`garage ${args.join(' ')} is not known here`)
if (process.getuid?.() !== 1000) throw new Error('compose.yaml gives it the user 1000')
readFileSync('/etc/garage.toml')
accessSync('/var/lib/garage', constants.W_OK)

/** @param {string} name of the variable that names the file. Garage refuses those that others may read. */
function secret(name) {
  const path = process.env[name] ?? ''
  if (statSync(path).mode & 0o077)
    throw new Error(`File ${path} is world-readable! (mode: 0o${statSync(path).mode.toString(8)})`)
  return readFileSync(path, 'utf8').trim()
}
if (!/^[0-9a-f]{64}$/.test(secret('GARAGE_RPC_SECRET_FILE'))) throw new Error('no RPC secret')
const token = secret('GARAGE_ADMIN_TOKEN_FILE')

createServer((asked, answer) => {
  if (asked.headers.authorization !== `Bearer ${token}`) {
    answer.writeHead(403).end(JSON.stringify({ code: 'AccessDenied', message: 'Invalid Authorization header' }))
    return
  }
  const { method, url, headers } = asked
  const passed = request({ socketPath: '/behind/admin.sock', method, path: url, headers }, (answered) => {
    answer.writeHead(answered.statusCode ?? 500, answered.headers)
    answered.pipe(answer)
  })
  passed.on('error', () => answer.writeHead(503).end())
  asked.pipe(passed)
}).listen(3903)

createRelay((client) => {
  const server = connect('/behind/s3.sock')
  client.on('error', () => server.destroy()).pipe(server)
  server.on('error', () => client.destroy()).pipe(client)
}).listen(3900)

process.once('SIGTERM', () => process.exit(0))
