import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { freePort } from './ports.ts'

export interface Line {
  readonly url: string
  /** Bytes that clients have sent to the server, headers included. */
  sent(): number
  /** From now on every connection brings so many bytes to the server, and is then silent. */
  holdAfter(bytes: number): void
  /** Breaks every connection; new ones are as good as ever. */
  cut(): void
  close(): Promise<void>
}

/** A wire between clients and a server that can be cut. It knows bytes, no HTTP. */
export async function startLine(upstream: string): Promise<Line> {
  const target = new URL(upstream)
  const sockets = new Set<Socket>()
  let limit = Infinity
  let sent = 0
  const server = createServer((client) => {
    const onward = connect(Number(target.port), target.hostname)
    let brought = 0
    client.on('data', (chunk: Buffer) => {
      const passed = chunk.subarray(0, Math.max(limit - brought, 0))
      brought += chunk.length
      sent += passed.length
      if (brought > limit) client.pause() // what is left of it is lost, as on a wire
      if (passed.length > 0 && !onward.write(passed)) {
        client.pause()
        onward.once('drain', () => brought <= limit && client.resume())
      }
    })
    onward.pipe(client)
    for (const [socket, other] of [
      [client, onward],
      [onward, client],
    ] as const) {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => {
        sockets.delete(socket)
        other.destroy()
      })
    }
    client.on('end', () => onward.end())
  })
  const port = await freePort()
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  const cut = () => {
    limit = Infinity
    for (const socket of sockets) socket.destroy()
  }
  return {
    url: `http://127.0.0.1:${port}`,
    sent: () => sent,
    holdAfter: (bytes) => void (limit = bytes),
    cut,
    async close() {
      server.close()
      cut()
    },
  }
}
