import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { freePort } from './ports.ts'

/** What may come in front of the bytes of a file on the wire. */
const methods = /^(GET|HEAD|POST|PATCH|DELETE) /

export interface Valve {
  readonly url: string
  /** Bytes that clients have sent through it. */
  sent(): number
  /** Lets so many more bytes pass on each connection, and then holds the rest back. Infinity: opens it. */
  pass(bytes: number): void
  /** Resolves when it holds bytes back on so many connections. */
  closed(connections: number): Promise<void>
  /** The server does what it is asked by the next such request, and the client does not hear of it. */
  lose(method: string): void
  close(): Promise<void>
}

/** A wire to a server that can be shut in the middle of a request. It knows nothing of HTTP but where a request begins. */
export async function startValve(server: string): Promise<Valve> {
  const target = new URL(server)
  const port = await freePort()
  const sockets = new Set<Socket>()
  let sent = 0
  let limit = Infinity
  let lost: string | undefined
  /** What lets the connections go on that are held. */
  let held: (() => void)[] = []
  const left = new Map<Socket, number>()
  const looks = new Set<() => void>()

  /** A part of the bytes may pass: the rest of them is for later. */
  async function write(chunk: Buffer, to: Socket): Promise<void> {
    for (let rest = chunk; rest.length > 0;) {
      if (left.get(to) === 0) {
        const opened = new Promise<void>((resolve) => held.push(resolve))
        for (const look of looks) look()
        await opened
      }
      const may = left.get(to) ?? limit
      const part = rest.subarray(0, Math.min(rest.length, may))
      left.set(to, may - part.length)
      sent += part.length
      rest = rest.subarray(part.length)
      if (!to.write(part)) await Promise.race([once(to, 'drain'), once(to, 'close')])
    }
  }

  const listener = createServer((client) => {
    const upstream = connect(Number(target.port), target.hostname)
    let method = ''
    for (const [one, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(one)
      one.on('error', () => {})
      one.once('close', () => {
        sockets.delete(one)
        other.destroy()
      })
    }
    client.on('data', (chunk: Buffer) => {
      method = methods.exec(chunk.toString('latin1', 0, 8))?.[1] ?? method
      client.pause()
      void write(chunk, upstream).then(() => client.resume())
    })
    upstream.on('data', (chunk: Buffer) => {
      if (lost !== method) return client.write(chunk)
      lost = undefined
      return client.destroy()
    })
  }).listen(port, '127.0.0.1')
  await once(listener, 'listening')

  return {
    url: `http://127.0.0.1:${port}`,
    sent: () => sent,
    pass(bytes) {
      limit = bytes
      left.clear()
      const going = held
      held = []
      for (const go of going) go()
    },
    closed: (connections) =>
      new Promise((resolve) => {
        const look = (): void => {
          if (held.length < connections) return
          looks.delete(look)
          resolve()
        }
        looks.add(look)
        look()
      }),
    lose(method) {
      lost = method
    },
    async close() {
      listener.close()
      for (const socket of sockets) socket.destroy()
    },
  }
}
