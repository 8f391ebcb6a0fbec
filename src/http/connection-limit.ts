import type { Socket } from 'node:net'
import { networkOf } from './rate-limit.ts'

/**
 * Closes connections beyond `most` of one address at once. @param isProxy whose connections are those of many clients
 */
export function connectionLimit(most: number, isProxy: (address: string) => boolean): (socket: Socket) => void {
  const open = new Map<string, number>()
  return (socket) => {
    const address = socket.remoteAddress ?? ''
    if (most === 0 || isProxy(address)) return
    const name = networkOf(address)
    const count = open.get(name) ?? 0
    if (count >= most) {
      socket.destroy()
      return
    }
    open.set(name, count + 1)
    socket.once('close', () => {
      const left = (open.get(name) ?? 1) - 1
      if (left > 0) open.set(name, left)
      else open.delete(name)
    })
  }
}
