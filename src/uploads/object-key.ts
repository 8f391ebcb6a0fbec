import { randomBytes } from 'node:crypto'

/** Every attempt to bring bytes writes under a key of its own, so that a late one never touches what came after. */
export function objectKey(id: string): string {
  const plain = id.replaceAll('-', '')
  return `${plain.slice(-2)}/${plain}.${randomBytes(6).toString('hex')}`
}
