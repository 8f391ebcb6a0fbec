import { isIPv6, type Socket } from 'node:net'

/** Groups of an IPv6 address that name its network: whoever has one address has 2^64 of them. */
const networkGroups = 4

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

function networkOf(address: string): string {
  if (!isIPv6(address) || /^::ffff:\d+\./i.test(address)) return address.replace(/^::ffff:/i, '')
  const [front = '', back] = address.split('::')
  const groups = front.split(':').filter((group) => group !== '')
  const end = (back ?? '').split(':').filter((group) => group !== '')
  const gap = back === undefined ? [] : Array<string>(Math.max(0, 8 - groups.length - end.length)).fill('0')
  return [...groups, ...gap, ...end].slice(0, networkGroups).join(':')
}
